package nftables

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/nftables"

	"fairway/nat"
	"fairway/nat/iptables"
)

// Compare says what in the kernel differs from want, as a Firewall's Reconcile
// would find it. It changes nothing, and asks the kernel nothing that others
// hear of.
func Compare(ctx context.Context, opts nat.Options, want nat.State) ([]nat.Repair, error) {
	opts, err := opts.Complete()
	if err != nil {
		return nil, err
	}
	a, err := nat.LookAround(opts, nat.Links(want))
	if err != nil {
		return nil, err
	}
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	have, there, err := read(conn, inetTable())
	if err != nil {
		return nil, fmt.Errorf("nftables: read table inet %s: %w", tableName, err)
	}
	all, own := render(want, a, opts.Marks)
	var found []nat.Repair
	switch empty := all.empty(); {
	case empty && there:
		found = []nat.Repair{{What: "inet " + tableName + ": the table was not wanted"}}
	case !empty && !there:
		found = []nat.Repair{{What: "inet " + tableName + ": the table was missing"}}
	case !empty:
		found = repairs(have, wanted(slices.Concat(own, chains(opts.Marks)), all, opts.Instance))
	}
	accepts, err := iptables.CompareAccepts(ctx, opts, nat.State{Networks: want.Networks})
	return append(found, accepts...), err
}

// Usable reports why the kernel can't hold our table, nil if it can: it has one, or
// takes one like it under another name, which is deleted in the same transaction.
func Usable() error {
	conn, err := dial()
	if err != nil {
		return err
	}
	tables, err := conn.ListTablesOfFamily(inetTable().Family)
	if err == nil && slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName }) {
		return nil
	}
	marks, err := nat.MarksOf(nat.DefaultMask)
	if err == nil {
		_, err = able(marks)
	}
	return err
}
