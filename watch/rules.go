package watch

import (
	"bytes"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Names of the firewall's: its tables in the families inet and bridge, the
// beginning of its iptables chains, and others' iptables chains that jump there.
const (
	tableName    = "fairway"
	overlayTable = "fairway-overlay" // who may send VXLAN to this host
	chainPrefix  = "FAIRWAY"
)

// sizeofNfgenmsg is that of struct nfgenmsg, before the attributes.
const sizeofNfgenmsg = 4

// rules reads notifications of nf_tables. Those of one transaction come in a
// row and end with NFT_MSG_NEWGEN, which says whose it was.
type rules struct {
	self string // name of our threads
	mark string // in comments of our iptables rules
	hit  bool   // in this transaction, something of ours
}

// read reports whether with m a transaction of somebody else's has ended that
// touched what is ours.
func (r *rules) read(m netlink.Message) bool {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Data) < sizeofNfgenmsg {
		return false
	}
	kind, family, data := m.Header.Type&0xff, m.Data[0], m.Data[sizeofNfgenmsg:]
	if kind != unix.NFT_MSG_NEWGEN {
		r.hit = r.hit || r.ours(kind, family, data)
		return false
	}
	hit := r.hit && text(data, unix.NFTA_GEN_PROC_NAME) != r.self
	r.hit = false
	return hit
}

// ours reports whether a change is of something of ours, or of a place where
// something of ours must be.
func (r *rules) ours(kind netlink.HeaderType, family byte, data []byte) bool {
	// The table's name is the first attribute of whatever a table contains.
	table := text(data, unix.NFTA_TABLE_NAME)
	switch family {
	case unix.NFPROTO_INET, unix.NFPROTO_BRIDGE:
		return table == tableName || table == overlayTable
	case unix.NFPROTO_IPV4, unix.NFPROTO_IPV6:
		return r.iptables(kind, data)
	}
	return false
}

// iptables is ours for the tables that iptables-nft makes. Rules of ours that
// come are no harm: it is us who add them.
func (r *rules) iptables(kind netlink.HeaderType, data []byte) bool {
	var chain string
	switch kind {
	case unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELCHAIN:
		chain = text(data, unix.NFTA_CHAIN_NAME)
	case unix.NFT_MSG_NEWRULE, unix.NFT_MSG_DELRULE:
		chain = text(data, unix.NFTA_RULE_CHAIN)
	default:
		return false
	}
	marked := bytes.Contains(data, []byte(r.mark))
	switch kind {
	case unix.NFT_MSG_NEWCHAIN:
		return chain == "FORWARD" || chain == "DOCKER-USER"
	case unix.NFT_MSG_NEWRULE:
		return !marked && (chain == "FORWARD" || chain == "DOCKER-USER" || strings.HasPrefix(chain, chainPrefix))
	}
	return marked || chain == "FORWARD" || chain == "DOCKER-USER" || strings.HasPrefix(chain, chainPrefix)
}
