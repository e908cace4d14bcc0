package trace

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A machine carries out rules of nftables on a packet as the kernel does:
// expressions load parts of the packet into registers and compare them (see
// net/netfilter/nf_tables_core.c). Registers are 4 bytes each here, the older
// ones of 16 bytes are four of them (nft_parse_register).
type machine struct {
	rules  *nftRules
	world  addresses
	packet Packet
	regs   [20 * 4]byte
	doubt  [20]bool // what isn't known is in that register
	table  tableKey
}

// addresses says what kind of address one is for this host.
type addresses interface {
	kind(netip.Addr) byte // RTN_LOCAL and so on, see rtnetlink(7)
	index(link string) uint32
	// toward is the link that the host sends to an address by; "" for its own
	// addresses and where there is no route.
	toward(a netip.Addr, mark uint32) string
}

// An answer of an expression.
type answer int

const (
	yes answer = iota // go on
	no                // the rule doesn't match
	unsure
)

// at returns the bytes from a register on.
func (m *machine) at(reg uint32) []byte {
	switch {
	case reg >= unix.NFT_REG_1 && reg <= unix.NFT_REG_4:
		return m.regs[(reg-unix.NFT_REG_1)*16:]
	case reg >= unix.NFT_REG32_00 && reg < unix.NFT_REG32_00+16:
		return m.regs[(reg-unix.NFT_REG32_00)*4:]
	}
	return nil
}

// load puts data into a register; the kernel clears the rest of its last word.
func (m *machine) load(reg uint32, data []byte) answer {
	to := m.at(reg)
	whole := (len(data) + 3) / 4 * 4
	if len(to) < whole {
		return unsure
	}
	clear(to[:whole])
	copy(to, data)
	m.doubts(reg, whole, false)
	return yes
}

// first returns the place of a register's first 4 bytes; -1 for none.
func first(reg uint32) int {
	switch {
	case reg >= unix.NFT_REG_1 && reg <= unix.NFT_REG_4:
		return int(reg-unix.NFT_REG_1) * 4
	case reg >= unix.NFT_REG32_00 && reg < unix.NFT_REG32_00+16:
		return int(reg - unix.NFT_REG32_00)
	}
	return -1
}

// doubts notes whether what is in a register, and so many bytes from there on, is
// known.
func (m *machine) doubts(reg uint32, size int, is bool) {
	at := first(reg)
	for i := at; at >= 0 && i < min(at+(size+3)/4, len(m.doubt)); i++ {
		m.doubt[i] = is
	}
}

// doubtful reports whether any of those bytes isn't known.
func (m *machine) doubtful(reg uint32, size int) bool {
	at := first(reg)
	return at < 0 || slices.Contains(m.doubt[at:min(at+(size+3)/4, len(m.doubt))], true)
}

// target returns the register that an expression loads; 0 for none.
func target(e expr.Any) uint32 {
	switch e := e.(type) {
	case *expr.Meta:
		return e.Register
	case *expr.Payload:
		return e.DestRegister
	case *expr.Ct:
		return e.Register
	case *expr.Fib:
		return e.Register
	case *expr.Bitwise:
		return e.DestRegister
	case *expr.Rt:
		return e.Register
	case *expr.Exthdr:
		return e.DestRegister
	case *expr.Numgen:
		return e.Register
	case *expr.Hash:
		return e.DestRegister
	}
	return 0
}

// step carries out an expression. One that loads what isn't known makes it unsure
// just when something asks for that.
func (m *machine) step(e expr.Any) answer {
	a := m.do(e)
	if reg := target(e); a == unsure && reg != 0 {
		m.doubts(reg, 16, true)
		return yes
	}
	return a
}

func native32(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// do carries out one expression that decides nothing by itself.
func (m *machine) do(e expr.Any) answer {
	switch e := e.(type) {
	case *expr.Counter, *expr.Log, *expr.Limit, *expr.Notrack, *expr.Quota, *expr.Objref:
		return yes
	case *expr.Meta:
		return m.meta(e)
	case *expr.Payload:
		return m.payload(e)
	case *expr.Ct:
		return m.ct(e)
	case *expr.Fib:
		return m.fib(e)
	case *expr.Immediate:
		return m.load(e.Register, e.Data)
	case *expr.Bitwise:
		return m.bitwise(e)
	case *expr.Cmp:
		have := m.at(e.Register)
		if len(have) < len(e.Data) || m.doubtful(e.Register, len(e.Data)) {
			return unsure
		}
		return holds(e.Op, bytes.Compare(have[:len(e.Data)], e.Data))
	case *expr.Range:
		if m.doubtful(e.Register, len(e.FromData)) {
			return unsure
		}
		have := m.at(e.Register)[:len(e.FromData)]
		inside := bytes.Compare(have, e.FromData) >= 0 && bytes.Compare(have, e.ToData) <= 0
		return when(inside == (e.Op == expr.CmpOpEq))
	case *expr.Socket: // the first packet of a connection of no transparent socket
		return m.load(e.Register, []byte{0})
	}
	return unsure
}

func when(b bool) answer {
	if b {
		return yes
	}
	return no
}

func holds(op expr.CmpOp, order int) answer {
	switch op {
	case expr.CmpOpEq:
		return when(order == 0)
	case expr.CmpOpNeq:
		return when(order != 0)
	case expr.CmpOpLt:
		return when(order < 0)
	case expr.CmpOpLte:
		return when(order <= 0)
	case expr.CmpOpGt:
		return when(order > 0)
	case expr.CmpOpGte:
		return when(order >= 0)
	}
	return unsure
}

func (m *machine) meta(e *expr.Meta) answer {
	p := &m.packet
	if e.SourceRegister {
		if e.Key == expr.MetaKeyMARK {
			p.Mark = binary.NativeEndian.Uint32(m.at(e.Register))
		}
		return yes
	}
	name := func(s string) []byte { return append([]byte(s), make([]byte, 16-min(len(s), 16))...) }
	switch e.Key {
	case expr.MetaKeyNFPROTO:
		if p.Is6() {
			return m.load(e.Register, []byte{unix.NFPROTO_IPV6})
		}
		return m.load(e.Register, []byte{unix.NFPROTO_IPV4})
	case expr.MetaKeyL4PROTO:
		return m.load(e.Register, []byte{p.Proto})
	case expr.MetaKeyPROTOCOL:
		if p.Is6() {
			return m.load(e.Register, []byte{0x86, 0xdd})
		}
		return m.load(e.Register, []byte{0x08, 0x00})
	case expr.MetaKeyIIFNAME:
		return m.load(e.Register, name(p.In))
	case expr.MetaKeyOIFNAME:
		return m.load(e.Register, name(p.Out))
	case expr.MetaKeyIIF:
		return m.load(e.Register, native32(m.world.index(p.In)))
	case expr.MetaKeyOIF:
		return m.load(e.Register, native32(m.world.index(p.Out)))
	case expr.MetaKeyMARK:
		return m.load(e.Register, native32(p.Mark))
	case expr.MetaKeyPKTTYPE:
		return m.load(e.Register, []byte{0}) // PACKET_HOST
	}
	return unsure
}

func (m *machine) payload(e *expr.Payload) answer {
	var header []byte
	switch e.Base {
	case expr.PayloadBaseNetworkHeader:
		header = m.packet.network()
	case expr.PayloadBaseTransportHeader:
		header = m.packet.transport()
	default:
		return unsure
	}
	if e.OperationType != expr.PayloadLoad || int(e.Offset+e.Len) > len(header) {
		return unsure
	}
	return m.load(e.DestRegister, header[e.Offset:e.Offset+e.Len])
}

// Bits of connection tracking: linux/netfilter/nf_conntrack_common.h.
const (
	stateNew = 1 << 3
	wasSNAT  = 1 << 4
	wasDNAT  = 1 << 5
)

func (m *machine) ct(e *expr.Ct) answer {
	p := m.packet
	if e.SourceRegister {
		return yes // it sets something of the connection
	}
	switch e.Key {
	case expr.CtKeySTATE:
		return m.load(e.Register, native32(stateNew))
	case expr.CtKeyDIRECTION:
		return m.load(e.Register, []byte{0})
	case expr.CtKeyMARK:
		return m.load(e.Register, native32(0))
	case expr.CtKeySTATUS:
		status := uint32(0)
		if p.DNAT {
			status |= wasDNAT
		}
		if p.SNAT {
			status |= wasSNAT
		}
		return m.load(e.Register, native32(status))
	case expr.CtKeyPROTODST:
		return m.load(e.Register, binary.BigEndian.AppendUint16(nil, p.OrigPort))
	case expr.CtKeyPROTOSRC:
		return m.load(e.Register, binary.BigEndian.AppendUint16(nil, p.SrcPort))
	case expr.CtKeyPROTOCOL:
		return m.load(e.Register, []byte{p.Proto})
	case expr.CtKeyDST, unix.NFT_CT_DST_IP, unix.NFT_CT_DST_IP6:
		return m.load(e.Register, p.OrigDst.AsSlice())
	case expr.CtKeySRC, unix.NFT_CT_SRC_IP, unix.NFT_CT_SRC_IP6:
		return m.load(e.Register, p.Src.AsSlice())
	}
	return unsure
}

// fib asks for routes: of an address, what kind it is, or by which link it is
// reached (nft_fib_ipv4.c).
func (m *machine) fib(e *expr.Fib) answer {
	of, mark := m.packet.Dst, uint32(0)
	if e.FlagSADDR {
		of = m.packet.Src
	}
	if e.FlagMARK {
		mark = m.packet.Mark
	}
	switch {
	case e.FlagIIF || e.FlagOIF || e.FlagPRESENT:
		return unsure
	case e.ResultADDRTYPE:
		return m.load(e.Register, native32(uint32(m.world.kind(of))))
	case e.ResultOIFNAME:
		name := m.world.toward(of, mark)
		return m.load(e.Register, append([]byte(name), make([]byte, 16-min(len(name), 16))...))
	case e.ResultOIF:
		return m.load(e.Register, native32(m.world.index(m.world.toward(of, mark))))
	}
	return unsure
}

func (m *machine) bitwise(e *expr.Bitwise) answer {
	from, out := m.at(e.SourceRegister), make([]byte, e.Len)
	if len(from) < int(e.Len) || len(e.Mask) < int(e.Len) || len(e.Xor) < int(e.Len) || m.doubtful(e.SourceRegister, int(e.Len)) {
		return unsure
	}
	for i := range out {
		out[i] = from[i]&e.Mask[i] ^ e.Xor[i]
	}
	return m.load(e.DestRegister, out)
}
