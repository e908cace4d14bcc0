package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// serve answers on each PROTO:PORT, in both families.
func serve(args []string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	for _, a := range args {
		proto, port, ok := strings.Cut(a, ":")
		if !ok {
			return fmt.Errorf("serve %s: want PROTO:PORT", a)
		}
		switch proto {
		case "tcp":
			l, err := net.Listen("tcp", ":"+port)
			if err != nil {
				return err
			}
			go serveTCP(l, name)
		case "udp":
			for _, network := range []string{"udp4", "udp6"} {
				if err := serveUDP(network, ":"+port, name); err != nil && network == "udp4" {
					return err // without IPv6 there is just the one
				}
			}
		default:
			return fmt.Errorf("serve %s: want tcp or udp", a)
		}
	}
	untilTold()
	return nil
}

func serveTCP(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			from := hostOf(c.RemoteAddr())
			fmt.Println("tcp", from)
			for s := bufio.NewScanner(c); s.Scan(); {
				if _, err := fmt.Fprintf(c, "%s %s %s\n", name, from, s.Text()); err != nil {
					return
				}
			}
		}()
	}
}

// serveUDP answers from the address that was asked, as any server of UDP on a
// wildcard address must: the kernel would choose another (ip(7), IP_PKTINFO).
func serveUDP(network, addr, name string) error {
	config := net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) (err error) {
		e := c.Control(func(fd uintptr) {
			if network == "udp6" {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
			} else {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
			}
		})
		return errors.Join(e, err)
	}}
	p, err := config.ListenPacket(context.Background(), network, addr)
	if err != nil {
		return err
	}
	go answerUDP(p.(*net.UDPConn), name)
	return nil
}

func answerUDP(c *net.UDPConn, name string) {
	buf, oob := make([]byte, 1<<16), make([]byte, 128)
	for {
		n, on, _, from, err := c.ReadMsgUDP(buf, oob)
		if err != nil {
			return
		}
		fmt.Println("udp", hostOf(from))
		text := fmt.Appendf(nil, "%s %s %s", name, hostOf(from), buf[:n])
		_, _, _ = c.WriteMsgUDP(text, source(oob[:on]), from)
	}
}

// source turns the control message that a datagram came with into the one
// that its answer leaves with: the same address, any interface.
func source(oob []byte) []byte {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil || len(messages) == 0 {
		return nil
	}
	switch m := messages[0]; {
	case m.Header.Level == unix.IPPROTO_IP && len(m.Data) >= unix.SizeofInet4Pktinfo:
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte(m.Data[8:12])})
	case m.Header.Level == unix.IPPROTO_IPV6 && len(m.Data) >= unix.SizeofInet6Pktinfo:
		return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: [16]byte(m.Data[:16])})
	}
	return nil
}

func hostOf(a net.Addr) string {
	h, _, _ := net.SplitHostPort(a.String())
	return h
}

// ask sends one line and prints the answer. An UDP question is repeated, as a
// datagram may be lost while an address is resolved.
func ask(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("ask: want PROTO ADDRESS [FROM]")
	}
	d := net.Dialer{Timeout: time.Second}
	if len(args) > 2 {
		var err error
		if d.LocalAddr, err = localAddr(args[0], args[2]); err != nil {
			return err
		}
	}
	c, err := d.Dial(args[0], args[1])
	if err != nil {
		return err
	}
	defer c.Close()
	tries := 1
	if strings.HasPrefix(args[0], "udp") {
		tries = 3
	}
	for range tries {
		if _, err = fmt.Fprintln(c, "hello"); err != nil {
			return err
		}
		if err = c.SetReadDeadline(time.Now().Add(time.Second / time.Duration(tries))); err != nil {
			return err
		}
		var line string
		if line, err = bufio.NewReader(c).ReadString('\n'); err == nil {
			fmt.Print(line)
			return nil
		}
	}
	return err
}

func localAddr(proto, from string) (net.Addr, error) {
	if strings.HasPrefix(proto, "udp") {
		return net.ResolveUDPAddr(proto, from)
	}
	return net.ResolveTCPAddr(proto, from)
}

// talk keeps one TCP connection busy for some seconds.
func talk(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("talk: want ADDRESS SECONDS")
	}
	seconds, err := strconv.ParseFloat(args[1], 64)
	if err != nil {
		return err
	}
	c, err := net.DialTimeout("tcp", args[0], time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Println("connected")
	in := bufio.NewReader(c)
	answers, longest := 0, time.Duration(0)
	for end := time.Now().Add(time.Duration(seconds * float64(time.Second))); time.Now().Before(end); {
		start := time.Now()
		if err = c.SetDeadline(start.Add(5 * time.Second)); err != nil {
			return err
		}
		if _, err = fmt.Fprintln(c, "hello"); err != nil {
			return fmt.Errorf("after %d answers: %w", answers, err)
		}
		if _, err = in.ReadString('\n'); err != nil {
			return fmt.Errorf("after %d answers: %w", answers, err)
		}
		answers++
		longest = max(longest, time.Since(start))
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Printf("%d answers, longest wait %d ms\n", answers, longest.Milliseconds())
	return nil
}

// large sends one datagram of a size and wants it back.
func large(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("large: want ADDRESS BYTES")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil || n < 1 || n > 60000 {
		return fmt.Errorf("large %s: want BYTES up to 60000", args[1])
	}
	c, err := net.Dial("udp", args[0])
	if err != nil {
		return err
	}
	defer c.Close()
	text := strings.Repeat("x", n)
	for range 3 {
		if _, err = fmt.Fprint(c, text); err != nil {
			return err
		}
		if err = c.SetReadDeadline(time.Now().Add(time.Second / 3)); err != nil {
			return err
		}
		buf, m := make([]byte, 1<<16), 0
		if m, err = c.Read(buf); err == nil {
			if !strings.HasSuffix(string(buf[:m]), text) {
				return fmt.Errorf("large: other bytes came back than were sent")
			}
			fmt.Println(n)
			return nil
		}
	}
	return err
}

// flood sends a datagram each millisecond, whatever becomes of them.
func flood(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("flood: want ADDRESS SECONDS")
	}
	seconds, err := strconv.ParseFloat(args[1], 64)
	if err != nil {
		return err
	}
	c, err := net.Dial("udp", args[0])
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Println("floods")
	sent := 0
	every := time.NewTicker(time.Millisecond)
	defer every.Stop()
	for end := time.Now().Add(time.Duration(seconds * float64(time.Second))); time.Now().Before(end); <-every.C {
		if _, err = fmt.Fprintln(c, "flood"); err == nil { // else it is the ICMP error for the one before
			sent++
		}
	}
	fmt.Printf("%d sent\n", sent)
	return nil
}

// hold takes a port and does nothing with it.
func hold(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("hold: want PROTO ADDRESS")
	}
	var err error
	if strings.HasPrefix(args[0], "udp") {
		_, err = new(net.ListenConfig).ListenPacket(context.Background(), args[0], args[1])
	} else {
		_, err = net.Listen(args[0], args[1])
	}
	if err != nil {
		return err
	}
	fmt.Println("held")
	untilTold()
	return nil
}

// lookup asks those that resolv.conf names for both families.
func lookup(args []string) error {
	if len(args) != 1 {
		return errors.New("lookup: want NAME")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r := net.Resolver{PreferGo: true}
	all, err := r.LookupHost(ctx, args[0])
	if err != nil {
		return err
	}
	slices.Sort(all)
	fmt.Println(strings.Join(all, " "))
	return nil
}
