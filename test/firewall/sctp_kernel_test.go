//go:build kernel

package firewall

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

// SCTP by hand, since not every kernel has sockets of it: an INIT chunk asks,
// and the cookie of an INIT ACK answers (RFC 9260, sections 3.3.2 and 3.3.3).
const (
	sctpHeader  = 12 // bytes: ports, verification tag, checksum
	chunkInit   = 1
	chunkAck    = 2
	initLength  = 20 // bytes: of the chunk without parameters
	paramCookie = 7
)

// sctpPacket returns a packet of one chunk. The tag is that of the receiver, 0
// in an INIT; initiate is what the sender wants to be called by.
func sctpPacket(from, to uint16, tag uint32, chunk byte, initiate uint32, cookie string) []byte {
	var param []byte
	if cookie != "" {
		param = binary.BigEndian.AppendUint16(param, paramCookie)
		param = binary.BigEndian.AppendUint16(param, uint16(4+len(cookie)))
		param = append(param, cookie...)
	}
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint32(b, tag)
	b = append(b, 0, 0, 0, 0) // the checksum
	b = append(b, chunk, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(initLength+len(param)))
	b = binary.BigEndian.AppendUint32(b, initiate)
	b = binary.BigEndian.AppendUint32(b, 1<<16)           // receiver window
	b = append(b, 0, 1, 0, 1)                             // a stream each way
	b = binary.BigEndian.AppendUint32(b, 1)               // first sequence number
	b = append(append(b, param...), 0, 0, 0)              // padded to 4 bytes
	b = b[:sctpHeader+(initLength+len(param)+3)/4*4]      //
	binary.LittleEndian.PutUint32(b[8:], sctpChecksum(b)) // RFC 9260, appendix A
	return b
}

// sctpChecksum is the CRC32c of b, whose field of it counts as 0.
func sctpChecksum(b []byte) uint32 {
	c := append([]byte(nil), b...)
	clear(c[8:sctpHeader])
	return crc32.Checksum(c, crc32.MakeTable(crc32.Castagnoli))
}

// An sctpChunk is what a packet of one INIT or INIT ACK says.
type sctpChunk struct {
	from, to      uint16
	tag, initiate uint32
	chunk         byte
	cookie        string
}

// parseSCTP returns nothing for what is none, or has a wrong checksum.
func parseSCTP(b []byte) (c sctpChunk, ok bool) {
	if len(b) < sctpHeader+initLength || binary.LittleEndian.Uint32(b[8:]) != sctpChecksum(b) {
		return c, false
	}
	c = sctpChunk{
		from: binary.BigEndian.Uint16(b), to: binary.BigEndian.Uint16(b[2:]), tag: binary.BigEndian.Uint32(b[4:]),
		chunk: b[sctpHeader], initiate: binary.BigEndian.Uint32(b[sctpHeader+4:]),
	}
	if p := b[sctpHeader+initLength:]; len(p) >= 4 && binary.BigEndian.Uint16(p) == paramCookie {
		if n := int(binary.BigEndian.Uint16(p[2:])); n >= 4 && n <= len(p) {
			c.cookie = string(p[4:n])
		}
	}
	return c, true
}

// rawSCTP is the network that package net has for sctp4 or sctp6.
func rawSCTP(network string) string { return strings.Replace(network, "sctp", "ip", 1) + ":132" }

// serveSCTP answers each INIT to a port with an INIT ACK that says who answers
// and whom he sees, until the test ends.
func (n *namespace) serveSCTP(t testing.TB, network string, port uint16) {
	t.Helper()
	var conn net.PacketConn
	var err error
	n.do(func() { conn, err = net.ListenPacket(rawSCTP(network), "") })
	if err != nil {
		t.Fatalf("%s: listen %s: %v", n.name, network, err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			k, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if c, ok := parseSCTP(buf[:k]); ok && c.chunk == chunkInit && c.to == port && c.tag == 0 {
				_, _ = conn.WriteTo(sctpPacket(port, c.from, c.initiate, chunkAck, 4711, n.name+" "+from.String()), from)
			}
		}
	}()
}

// askSCTP sends an INIT and returns the answer's cookie; "" if none came from
// the very address and port that were asked, with the right tag and checksum.
// It runs in a namespace.
func askSCTP(network, address string) string {
	to, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return ""
	}
	conn, err := net.Dial(rawSCTP(network), to.IP.String()) // takes packets from there only
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	port, tag := uint16(40000+rand.IntN(20000)), 1+rand.Uint32N(1<<31)
	if _, err = conn.Write(sctpPacket(port, uint16(to.Port), 0, chunkInit, tag, "")); err != nil {
		return ""
	}
	buf := make([]byte, 1500)
	for {
		k, _, err := conn.(*net.IPConn).ReadFrom(buf) // without the IPv4 header
		if err != nil {
			return ""
		}
		if c, ok := parseSCTP(buf[:k]); ok && c.chunk == chunkAck && c.from == uint16(to.Port) && c.to == port && c.tag == tag {
			return c.cookie
		}
	}
}
