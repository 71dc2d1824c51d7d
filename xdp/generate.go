package xdp

// The program's object and the Go that loads it are generated and committed: building fastlb needs no clang.
//
//go:generate go tool bpf2go -target bpfel -type steer_exit -type rule_kind -type address_flag -type feature -type proto_bit -type rule_key -type mark_key -type mark_value -type interface_key -type interface_value steer steer.c -- -O2 -g -Wall -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu
