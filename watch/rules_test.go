package watch

import (
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// message returns a notification with a header of its own (nfgenmsg, ifinfomsg
// …) and attributes.
func message(t testing.TB, kind int, header []byte, attributes ...netlink.Attribute) netlink.Message {
	t.Helper()
	b, err := netlink.MarshalAttributes(attributes)
	if err != nil {
		t.Fatal(err)
	}
	return netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(kind)}, Data: append(header, b...)}
}

func name(kind uint16, value string) netlink.Attribute {
	return netlink.Attribute{Type: kind, Data: append([]byte(value), 0)}
}

func nft(t testing.TB, kind int, family byte, attributes ...netlink.Attribute) netlink.Message {
	t.Helper()
	return message(t, unix.NFNL_SUBSYS_NFTABLES<<8|kind, []byte{family, 0, 0, 0}, attributes...)
}

// TestRules gives a transaction of one change, and wants it to count or not.
func TestRules(t *testing.T) {
	const (
		inet, bridge, ip, ip6 = unix.NFPROTO_INET, unix.NFPROTO_BRIDGE, unix.NFPROTO_IPV4, unix.NFPROTO_IPV6
		newRule, delRule      = unix.NFT_MSG_NEWRULE, unix.NFT_MSG_DELRULE
		newChain, delChain    = unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELCHAIN
	)
	rule := func(table, chain, comment string) []netlink.Attribute {
		return []netlink.Attribute{
			name(unix.NFTA_RULE_TABLE, table), name(unix.NFTA_RULE_CHAIN, chain),
			{Type: unix.NFTA_RULE_USERDATA, Data: []byte(comment)},
		}
	}
	chain := func(table, chain string) []netlink.Attribute {
		return []netlink.Attribute{name(unix.NFTA_CHAIN_TABLE, table), name(unix.NFTA_CHAIN_NAME, chain)}
	}
	table := func(name1 string) []netlink.Attribute { return []netlink.Attribute{name(unix.NFTA_TABLE_NAME, name1)} }
	tests := map[string]struct {
		kind       int
		family     byte
		attributes []netlink.Attribute
		who        string
		want       bool
	}{
		"our table":                   {unix.NFT_MSG_DELTABLE, inet, table("fairway"), "nft", true},
		"the guard's":                 {unix.NFT_MSG_DELTABLE, bridge, table("fairway"), "nft", true},
		"the overlay's":               {unix.NFT_MSG_DELTABLE, inet, table("fairway-overlay"), "nft", true},
		"our table, by us":            {unix.NFT_MSG_DELTABLE, inet, table("fairway"), "self", false},
		"like our table":              {unix.NFT_MSG_DELTABLE, inet, table("fairway2"), "nft", false},
		"of another family":           {unix.NFT_MSG_DELTABLE, ip, table("fairway"), "nft", false},
		"element":                     {unix.NFT_MSG_DELSETELEM, inet, table("fairway"), "nft", true},
		"new element":                 {unix.NFT_MSG_NEWSETELEM, inet, table("fairway"), "nft", true},
		"others' rule":                {delRule, inet, rule("firewalld", "filter_FORWARD", ""), "firewalld", false},
		"our hook":                    {delRule, ip, rule("nat", "PREROUTING", "xfairway:ours:e1"), "iptables", true},
		"another instance's hook":     {delRule, ip, rule("nat", "PREROUTING", "fairway:other"), "iptables", false},
		"our rule, new":               {newRule, ip, rule("nat", "FAIRWAY-DNAT", "fairway:ours"), "iptables-restore", false},
		"our chain flushed":           {delRule, ip6, rule("filter", "FAIRWAY-ACCEPT", ""), "ip6tables", true},
		"others' rule in our chain":   {newRule, ip, rule("filter", "FAIRWAY-ACCEPT", "x"), "iptables", true},
		"rule before our jump":        {newRule, ip, rule("filter", "FORWARD", ""), "dockerd", true},
		"our jump":                    {newRule, ip, rule("filter", "FORWARD", "fairway:ours"), "iptables-restore", false},
		"a container of Docker's":     {newRule, ip, rule("nat", "DOCKER", ""), "iptables", false},
		"another's masquerade":        {delRule, ip, rule("nat", "POSTROUTING", ""), "iptables", false},
		"FORWARD, which may drop":     {newChain, ip, chain("filter", "FORWARD"), "iptables", true},
		"DOCKER-USER":                 {newChain, ip, chain("filter", "DOCKER-USER"), "iptables", true},
		"our chain deleted":           {delChain, ip, chain("filter", "FAIRWAY-FORWARD"), "iptables", true},
		"our chain made":              {newChain, ip, chain("filter", "FAIRWAY-FORWARD"), "iptables-restore", false},
		"others' chain":               {delChain, ip, chain("filter", "DOCKER"), "iptables", false},
		"nobody says who: an old one": {unix.NFT_MSG_DELTABLE, inet, table("fairway"), "", true},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			r := &rules{self: "self", mark: "fairway:ours"}
			if r.read(nft(t, test.kind, test.family, test.attributes...)) {
				t.Error("counts before its transaction has ended")
			}
			end := nft(t, unix.NFT_MSG_NEWGEN, 0)
			if test.who != "" {
				end = nft(t, unix.NFT_MSG_NEWGEN, 0, name(unix.NFTA_GEN_PROC_NAME, test.who))
			}
			if got := r.read(end); got != test.want {
				t.Errorf("counts: %v, want %v", got, test.want)
			}
			if r.read(nft(t, unix.NFT_MSG_NEWGEN, 0, name(unix.NFTA_GEN_PROC_NAME, "nft"))) {
				t.Error("the next transaction counts as well")
			}
		})
	}
}

// FuzzRead feeds both readers what no kernel sends: neither may fall over it,
// and links that no record wants never count.
func FuzzRead(f *testing.F) {
	m := nft(f, unix.NFT_MSG_DELRULE, unix.NFPROTO_IPV4, name(unix.NFTA_RULE_CHAIN, "FORWARD"))
	f.Add(uint16(m.Header.Type), m.Data)
	m = newLink(f, 7, "fwb1", true, "bridge", 0)
	f.Add(uint16(m.Header.Type), m.Data)
	f.Fuzz(func(t *testing.T, kind uint16, data []byte) {
		m := netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(kind)}, Data: data}
		(&rules{}).read(m)
		l := newLinks(nobody, nobody)
		if l.read(m) && kind != unix.RTM_DELRULE {
			t.Errorf("message %d counts: % x", kind, data)
		}
	})
}
