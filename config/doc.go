// Package config is the director's configuration file: YAML, decoded strictly into Config, every fault reported with
// file, line and column.
//
// The way of a file: Load or Parse → decode (decode.go: node by node, so that each value knows its place) → Validate →
// Config. Diff compares two of them into a list of Actions, which are data: `fastlb check` prints them, the director
// applies them. Services are kept in package service's own types, so that file, rules text and ipvsadm agree.
//
// The package reads files that it is told of and nothing else: no environment, no interface, no kernel.
package config
