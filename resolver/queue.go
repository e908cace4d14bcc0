package resolver

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// What linux/netfilter/nfnetlink_queue.h says, and x/sys/unix doesn't.
const (
	messagePacket  = 0
	messageVerdict = 1
	messageConfig  = 2

	configCommand = 1 // attributes of messageConfig
	configParams  = 2
	configMask    = 4
	configFlags   = 5
	commandBind   = 1
	copyPacket    = 2
	failOpen      = 1 // a queue that is full lets packets pass
	wholeSegments = 4 // and takes those that are yet to be cut up, or summed, as they are

	attrHeader  = 1 // attributes of messagePacket
	attrIn      = 5
	attrMAC     = 9
	attrPayload = 10
	attrVerdict = 2 // of messageVerdict

	verdictDrop   = 0
	verdictAccept = 1
)

// The numbers of queues that are tried, so that we get along with whoever has one.
const (
	firstQueue = 4053
	lastQueue  = 4062
)

// A queue is where rules hand packets to this process. One goroutine reads it.
type queue struct {
	conn   *netlink.Conn
	number uint16
}

// A held packet waits in the kernel for a verdict.
type held struct {
	id     uint32
	link   int    // index of that by which it came
	mac    []byte // of who sent it
	packet []byte // from its IP header on, as far as it was copied
}

// openQueue takes the first queue that nobody has.
func openQueue() (*queue, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("resolver: open netlink: %w", err)
	}
	q := &queue{conn: conn, number: firstQueue}
	for ; ; q.number++ {
		err = q.configure(netlink.Attribute{Type: configCommand, Data: []byte{commandBind, 0, 0, 0}})
		if taken := errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EPERM); !taken || q.number == lastQueue {
			break
		}
	}
	if err == nil {
		params := append(binary.BigEndian.AppendUint32(nil, 0xffff), copyPacket)
		flags := binary.BigEndian.AppendUint32(nil, failOpen|wholeSegments)
		err = q.configure(netlink.Attribute{Type: configParams, Data: params},
			netlink.Attribute{Type: configFlags, Data: flags}, netlink.Attribute{Type: configMask, Data: flags})
	}
	if err == nil {
		_ = conn.SetOption(netlink.NoENOBUFS, true) // packets that don't fit pass
		err = conn.SetReadBuffer(4 << 20)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("resolver: bind netfilter queue %d: %w", q.number, err)
	}
	return q, nil
}

func (q *queue) configure(attrs ...netlink.Attribute) error {
	m, err := q.message(messageConfig, netlink.Request|netlink.Acknowledge, attrs...)
	if err == nil {
		_, err = q.conn.Execute(m)
	}
	return err
}

func (q *queue) message(kind uint16, flags netlink.HeaderFlags, attrs ...netlink.Attribute) (netlink.Message, error) {
	body, err := netlink.MarshalAttributes(attrs)
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_QUEUE<<8 | kind), Flags: flags},
		Data:   append([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, byte(q.number >> 8), byte(q.number)}, body...),
	}, err
}

// run gives packets to handle until the queue is closed; one that handle takes
// goes no further.
func (q *queue) run(handle func(held) (taken bool)) error {
	for {
		all, err := q.conn.Receive()
		if err != nil {
			return err
		}
		for _, m := range all {
			if m.Header.Type != unix.NFNL_SUBSYS_QUEUE<<8|messagePacket {
				continue
			}
			h, err := readHeld(m.Data)
			if err != nil {
				continue // without a number there is no verdict
			}
			verdict := uint32(verdictAccept)
			if handle(h) {
				verdict = verdictDrop
			}
			if err := q.decide(h.id, verdict); err != nil {
				return err
			}
		}
	}
}

func readHeld(b []byte) (h held, err error) {
	if len(b) < 4 {
		return h, errors.New("resolver: short message of the queue")
	}
	d, err := netlink.NewAttributeDecoder(b[4:])
	if err != nil {
		return h, err
	}
	d.ByteOrder = binary.BigEndian
	known := false
	for d.Next() {
		switch v := d.Bytes(); d.Type() {
		case attrHeader:
			if known = len(v) >= 4; known {
				h.id = binary.BigEndian.Uint32(v)
			}
		case attrIn:
			if len(v) == 4 {
				h.link = int(binary.BigEndian.Uint32(v))
			}
		case attrMAC:
			if len(v) >= 4+6 && binary.BigEndian.Uint16(v) == 6 {
				h.mac = v[4:10]
			}
		case attrPayload:
			h.packet = v
		}
	}
	if err := d.Err(); err != nil || !known {
		return h, errors.Join(errors.New("resolver: message of the queue without a number"), err)
	}
	return h, nil
}

func (q *queue) decide(id, verdict uint32) error {
	data := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, verdict), id)
	m, err := q.message(messageVerdict, netlink.Request, netlink.Attribute{Type: attrVerdict, Data: data})
	if err == nil {
		_, err = q.conn.Send(m)
	}
	return err
}

// close ends run. Packets that wait are dropped, later ones pass the rule.
func (q *queue) close() error { return q.conn.Close() }
