package nftables

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nltest"
	"golang.org/x/sys/unix"
)

// answering returns a connection to a kernel that answers each kind of request
// with the attributes of one object.
func answering(t *testing.T, attributes map[uint16][]byte) *nftables.Conn {
	t.Helper()
	conn, err := nftables.New(nftables.WithTestDial(func(requests []netlink.Message) (out []netlink.Message, _ error) {
		for _, r := range requests {
			kind := uint16(r.Header.Type) & 0xff
			answer := netlink.Message{Header: r.Header, Data: append([]byte{unix.NFPROTO_INET, 0, 0, 0}, attributes[kind]...)}
			answer.Header.Type = netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind - 1) // NFT_MSG_NEW… is one below NFT_MSG_GET…
			if attributes[kind] != nil {
				out = append(out, answer)
			}
			if r.Header.Flags&netlink.Dump == netlink.Dump {
				return nltest.Multipart(append(out, netlink.Message{Header: r.Header, Data: make([]byte, 4)}))
			}
		}
		return out, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func attributes(f *testing.F, fill func(e *netlink.AttributeEncoder)) []byte {
	f.Helper()
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	fill(e)
	raw, err := e.Encode()
	if err != nil {
		f.Fatal(err)
	}
	return raw
}

// encodeRule returns a rule's attributes as the kernel lists it.
func encodeRule(f *testing.F, r rule) []byte {
	f.Helper()
	return attributes(f, func(e *netlink.AttributeEncoder) {
		e.String(unix.NFTA_RULE_TABLE, tableName)
		e.String(unix.NFTA_RULE_CHAIN, chainForward)
		e.Nested(unix.NFTA_RULE_EXPRESSIONS, func(e *netlink.AttributeEncoder) error {
			for _, x := range r.exprs {
				raw, err := expr.Marshal(unix.NFPROTO_INET, x)
				if err != nil {
					return err
				}
				e.Bytes(unix.NLA_F_NESTED|unix.NFTA_LIST_ELEM, raw)
			}
			return nil
		})
	})
}

// FuzzRead: somebody else may write chains, rules, sets and elements of any kind
// into the table. None makes the reader panic; our own rules it
// reads, and it finds them equal to what is wanted.
func FuzzRead(f *testing.F) {
	table := attributes(f, func(e *netlink.AttributeEncoder) { e.String(unix.NFTA_TABLE_NAME, tableName) })
	chain := attributes(f, func(e *netlink.AttributeEncoder) {
		e.String(unix.NFTA_CHAIN_TABLE, tableName)
		e.String(unix.NFTA_CHAIN_NAME, chainForward)
		e.Nested(unix.NFTA_CHAIN_HOOK, func(e *netlink.AttributeEncoder) error {
			e.Uint32(unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_FORWARD)
			e.Uint32(unix.NFTA_HOOK_PRIORITY, 0xfffffff6)
			return nil
		})
		e.Uint32(unix.NFTA_CHAIN_POLICY, 1)
		e.String(unix.NFTA_CHAIN_TYPE, "filter")
	})
	set := attributes(f, func(e *netlink.AttributeEncoder) {
		e.String(unix.NFTA_SET_TABLE, tableName)
		e.String(unix.NFTA_SET_NAME, mapWithin)
		e.Uint32(unix.NFTA_SET_FLAGS, unix.NFT_SET_MAP)
		e.Uint32(unix.NFTA_SET_KEY_TYPE, nftables.TypeInetService.GetNFTMagic())
	})
	element := attributes(f, func(e *netlink.AttributeEncoder) {
		e.String(unix.NFTA_SET_ELEM_LIST_TABLE, tableName)
		e.Nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(e *netlink.AttributeEncoder) error {
			e.Nested(unix.NFTA_LIST_ELEM, func(e *netlink.AttributeEncoder) error {
				e.Nested(unix.NFTA_SET_ELEM_KEY, func(e *netlink.AttributeEncoder) error {
					e.Bytes(unix.NFTA_DATA_VALUE, []byte{0, 80})
					return nil
				})
				return nil
			})
			return nil
		})
	})
	f.Add(chain, []byte{}, set, []byte{})
	f.Add([]byte{}, []byte{}, []byte{}, []byte{}) // a chain of no table
	for _, c := range allChains() {
		for _, r := range c.rules {
			f.Add(chain, encodeRule(f, r), set, element)
		}
	}
	f.Fuzz(func(t *testing.T, chain, rule, set, element []byte) {
		conn := answering(t, map[uint16][]byte{
			unix.NFT_MSG_GETTABLE: table, unix.NFT_MSG_GETCHAIN: chain, unix.NFT_MSG_GETRULE: rule,
			unix.NFT_MSG_GETSET: set, unix.NFT_MSG_GETSETELEM: element,
		})
		have, there, err := read(conn, inetTable())
		if err != nil {
			if strings.HasPrefix(t.Name(), "FuzzRead/seed") {
				t.Errorf("what is our own is not read: %v", err)
			}
			return // it is said, and nothing is changed
		}
		if !there {
			t.Error("the table is not there")
		}
		if strings.HasPrefix(t.Name(), "FuzzRead/seed") && len(rule) > 0 {
			want := wanted(allChains(), newFill(), "x")
			if got := have.rules[chainForward]; len(got) != 1 || !known(want, got[0]+"fairway:x") || len(have.elements) != 1 {
				t.Errorf("read %d rules, %d elements: %q", len(got), len(have.elements), got)
			}
		}
		for e, v := range have.elements {
			if e.end && v != (value{}) {
				t.Errorf("the end of an interval has a value: %+v %+v", e, v)
			}
		}
	})
}

// known reports whether any chain wants a rule that begins like this one: which
// has a comment of the table's purpose behind it.
func known(want content, rule string) bool {
	for _, rules := range want.rules {
		for _, r := range rules {
			if strings.HasPrefix(r, rule) {
				return true
			}
		}
	}
	return false
}

// FuzzVerdict: any verdict can be read, and those that we use are read as
// written.
func FuzzVerdict(f *testing.F) {
	for _, text := range []string{"accept", "drop", "jump outward", "goto to-nat"} {
		v := parseVerdict(text)
		f.Add(attributes(f, func(e *netlink.AttributeEncoder) {
			e.Uint32(unix.NFTA_VERDICT_CODE, uint32(v.Kind))
			e.String(unix.NFTA_VERDICT_CHAIN, v.Chain)
		}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		text := verdictOf(data)
		if verb, name, _ := strings.Cut(text, " "); verb == "jump" || verb == "goto" {
			v := parseVerdict(text)
			if v.Chain != name || v.Kind != expr.VerdictJump && v.Kind != expr.VerdictGoto {
				t.Errorf("verdict %q is read as %+v", text, v)
			}
		}
	})
}
