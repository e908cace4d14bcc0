package main

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"fairway/admin"
	"fairway/inspect"
)

// A sheet is a text of sections, whose lines are a name and a value.
type sheet struct {
	out  io.Writer
	rows *tabwriter.Writer
	err  error
}

// title begins a section.
func (s *sheet) title(text string) {
	if s.rows != nil {
		s.end()
		fmt.Fprintln(s.out)
	}
	fmt.Fprintln(s.out, printable(text))
	s.rows = tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
}

// line adds a value; "" leaves the line out. Of several lines each has the name
// but the first has it alone.
func (s *sheet) line(name string, values ...string) {
	for _, v := range values {
		if v == "" {
			continue
		}
		fmt.Fprintf(s.rows, "  %s\t%s\n", name, printable(v))
		name = ""
	}
}

func (s *sheet) end() {
	if s.rows != nil {
		s.err = cmp.Or(s.err, s.rows.Flush())
	}
}

// printReport prints a section for each thing.
func printReport(w io.Writer, r inspect.Report) error {
	s := &sheet{out: w}
	if r.Daemon == "" {
		fmt.Fprintln(w, "the daemon doesn't answer: this is what is recorded")
	}
	for _, n := range r.Networks {
		s.network(n)
	}
	for _, e := range r.Endpoints {
		s.endpoint(e)
	}
	for _, a := range r.Addresses {
		s.address(a)
	}
	for _, l := range r.Links {
		s.title("link " + l.Name)
		s.line("of", l.Of...)
		s.link("", &l)
	}
	s.end()
	return s.err
}

func (s *sheet) network(n inspect.Network) {
	r := n.Record
	s.title("network " + cmp.Or(r.Name, r.ID))
	s.line("id", r.ID)
	s.line("mode", r.Mode)
	s.line("engine", r.Engine)
	for _, sub := range r.Subnets {
		text := sub.Subnet.String()
		if sub.Gateway.IsValid() {
			text += ", gateway " + sub.Gateway.String()
		}
		s.line("subnet", text)
	}
	if r.Internal {
		s.line("internal", "yes")
	}
	s.line("remark", r.Remark)
	s.line("created", r.Created.UTC().Format(time.RFC3339))
	s.engine(n.Engine)
	s.options(n.Options)
	s.link(r.Link, n.Link)
	s.objects(n.Kernel)
	var members []string
	for _, m := range n.Endpoints {
		members = append(members, strings.TrimSpace(cmp.Or(m.Container, m.ID[:min(len(m.ID), 12)])+" "+addressesOf(m.IPv4, m.IPv6)))
	}
	s.line("containers", members...)
}

func addressesOf(all ...netip.Prefix) string {
	var words []string
	for _, p := range all {
		if p.IsValid() {
			words = append(words, p.String())
		}
	}
	return strings.Join(words, ", ")
}

func (s *sheet) endpoint(e inspect.Endpoint) {
	r := e.Record
	s.title("endpoint of container " + cmp.Or(r.Container, "-") + " on network " + cmp.Or(r.NetworkName, r.Network))
	s.line("id", r.ID)
	s.line("container", r.ContainerID)
	s.line("mode", r.Mode)
	s.line("addresses", addressesOf(r.IPv4, r.IPv6))
	s.line("mac", r.MAC)
	if r.Denied != nil {
		s.line("denied", fmt.Sprintf("%d frames that weren't its own", *r.Denied))
	}
	s.line("remark", r.Remark)
	s.line("created", r.Created.UTC().Format(time.RFC3339))
	s.engine(e.Engine)
	s.options(e.Options)
	for _, p := range e.Ports {
		s.line("port", portText(p))
	}
	for _, l := range e.Leases {
		s.line("lease", leaseText(l))
	}
	if e.Link != nil {
		s.link(e.Link.Name, e.Link)
	}
	s.objects(e.Kernel)
	if in := e.Inside; in != nil {
		s.line("sandbox", in.Sandbox, in.Trouble)
		for _, l := range in.Links {
			s.link("inside "+l.Name, &l)
		}
		s.line("route", in.Routes...)
	}
}

func portText(p admin.Port) string {
	text := fmt.Sprintf("%s/%s to %s, from %s", netip.AddrPortFrom(p.HostIP, p.HostPort), p.Protocol, netip.AddrPortFrom(p.IP, p.Port), reachable(p))
	if p.TakenBy != "" {
		text += ", taken by " + p.TakenBy
	}
	if p.Connections != nil {
		text += fmt.Sprintf(", %d connections", *p.Connections)
	}
	return text
}

func leaseText(l admin.Lease) string {
	text := fmt.Sprintf("%s from %s by %s, %s", l.IP, l.Server, l.Parent, l.State)
	if !l.Expires.IsZero() {
		text += ", ends " + l.Expires.UTC().Format(time.RFC3339)
	}
	return strings.TrimSuffix(text+", "+l.Why, ", ")
}

func (s *sheet) address(a inspect.Address) {
	s.title("address " + a.Address.String())
	s.line("is", a.Is...)
	for _, r := range a.IPAM {
		text := fmt.Sprintf("%s of %s, since %s", r.Kind, r.Subnet, r.Created.UTC().Format(time.RFC3339))
		if !r.Released.IsZero() {
			text += ", released " + r.Released.UTC().Format(time.RFC3339)
		}
		s.line("given out", text)
	}
	for _, l := range a.Leases {
		s.line("lease", leaseText(l))
	}
	s.line("in networks", a.Networks...)
	for _, n := range a.Neighbours {
		s.line("neighbour", fmt.Sprintf("%s on %s, %s", cmp.Or(n.MAC, "nobody"), n.Link, n.State))
	}
	s.line("route", cmp.Or(a.Route, "none"))
}

func (s *sheet) engine(e inspect.Engine) {
	switch {
	case e.Unasked != "":
		s.line("docker", "not asked: "+e.Unasked)
	case !e.Known:
		s.line("docker", "doesn't know it")
	default:
		s.line("docker", strings.TrimSpace("knows it as "+e.Name))
	}
}

// options shows what was given; the others' values follow.
func (s *sheet) options(all []inspect.Option) {
	for _, given := range []bool{true, false} {
		for _, o := range all {
			text := o.Name + "=" + o.Effective
			switch {
			case (o.Asked != nil) != given:
				continue
			case !given:
				s.line("default", text)
			case *o.Asked != o.Effective:
				s.line("option", text+"   (given: "+*o.Asked+")")
			default:
				s.line("option", text)
			}
		}
	}
}

func (s *sheet) objects(all []inspect.Object) {
	for _, o := range all {
		if o.Differs != "" {
			s.line("kernel", "BAD "+o.Object+": "+o.Differs)
			continue
		}
		s.line("kernel", "ok  "+o.Object)
	}
}

// link shows a link of the kernel's in two lines.
func (s *sheet) link(name string, l *inspect.Link) {
	if l == nil {
		s.line("link", name+": isn't there")
		return
	}
	text := []string{l.Kind, "mtu " + fmt.Sprint(l.MTU), l.MAC}
	if l.Up {
		text = append(text, "up ("+l.State+")")
	} else {
		text = append(text, "DOWN")
	}
	if l.Master != "" {
		text = append(text, "port of "+l.Master)
	}
	if l.Parent != "" {
		text = append(text, "on "+l.Parent)
	}
	if a := addressesOf(l.Addresses...); a != "" {
		text = append(text, a)
	}
	s.line("link", strings.TrimPrefix(name+": ", ": ")+strings.Join(text, ", "),
		fmt.Sprintf("received %s in %d packets, %d dropped; sent %s in %d, %d dropped", size(&l.Received.Bytes), l.Received.Packets, l.Received.Dropped,
			size(&l.Sent.Bytes), l.Sent.Packets, l.Sent.Dropped))
	s.line("alias", l.Alias)
}
