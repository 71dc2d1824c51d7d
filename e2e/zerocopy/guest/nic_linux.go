package main

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/safchain/ethtool"

	"github.com/fastlb/fastlb/internal/vm"
)

// rss answers how many queues an interface has and what its RSS table is, by the name in the request.
func rss(r *vm.Request) (a vm.Answer, err error) {
	tool, err := ethtool.NewEthtool()
	if err != nil {
		return a, err
	}
	defer tool.Close()
	channels, err := tool.GetChannels(r.Name)
	if err != nil {
		return a, fmt.Errorf("interface %s: %w", r.Name, err)
	}
	table, err := tool.GetIndir(r.Name)
	if err != nil {
		return a, fmt.Errorf("interface %s: RSS table: %w", r.Name, err)
	}
	if table.Size > uint32(len(table.RingIndex)) {
		return a, fmt.Errorf("interface %s: a table of %d entries", r.Name, table.Size)
	}
	a.Data, err = json.Marshal(map[string]any{"Queues": channels.CombinedCount, "Table": table.RingIndex[:table.Size]})
	return a, err
}

// queues gives the interface of the request so many pairs of queues.
func queues(r *vm.Request) (a vm.Answer, err error) {
	n, err := strconv.ParseUint(r.Args[0], 10, 32)
	if err != nil {
		return a, err
	}
	tool, err := ethtool.NewEthtool()
	if err != nil {
		return a, err
	}
	defer tool.Close()
	channels, err := tool.GetChannels(r.Name)
	if err == nil {
		channels.CombinedCount = uint32(n)
		_, err = tool.SetChannels(r.Name, channels)
	}
	if err != nil {
		return a, fmt.Errorf("interface %s: %d queues: %w", r.Name, n, err)
	}
	return a, nil
}
