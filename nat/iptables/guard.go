package iptables

import (
	"context"
	"fmt"

	goiptables "github.com/coreos/go-iptables/iptables"
)

// GuardForward makes DROP the policy of FORWARD in a family, as Docker does
// when it turns forwarding on: what neither enters nor leaves by one of our
// bridges is not forwarded for its sake.
func (f *Firewall) GuardForward(ctx context.Context, v6 bool) error {
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.unlock()
	proto := goiptables.ProtocolIPv4
	if v6 {
		if f.no6 != nil {
			return nil // and nothing that could be forwarded
		}
		proto = goiptables.ProtocolIPv6
	}
	t, err := goiptables.New(goiptables.IPFamily(proto), goiptables.Timeout(20))
	if err != nil {
		return fmt.Errorf("iptables: %w", err)
	}
	f.opts.Step("iptables.policy " + familyName(v6))
	if err := t.ChangePolicy("filter", "FORWARD", "DROP"); err != nil {
		return fmt.Errorf("iptables: policy of FORWARD: %w", err)
	}
	return nil
}
