package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"fairway/trace"

	"github.com/spf13/cobra"
)

// A pinged way is what fairway ping --json prints.
type pinged struct {
	Version  int       `json:"version"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	Address  string    `json:"address"`
	Sent     int       `json:"sent"`
	Received int       `json:"received"`
	Seconds  []float64 `json:"seconds"` // of each reply
	// MTU is the size of the largest packet that came through in one piece, and
	// LinkMTU what the link would take, in bytes; 0 if there was no reply.
	MTU     int `json:"mtu"`
	LinkMTU int `json:"link_mtu"`
	// Reason is what fairway trace says if there was no reply.
	Reason string `json:"reason,omitempty"`
}

func newPingCommand() *cobra.Command {
	var v view
	var file string
	var v6 bool
	var count int
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "ping FROM TO",
		Short: "Send echo requests from inside a container",
		Long: `Send echo requests from inside a container's network namespace: the image needs
nothing for that. Then the largest packet is sought that comes through in one
piece. FROM is a container or host; TO is a container, an address, or host. If
nothing answers, the way is worked out as "fairway trace" does. Exit code 1: a
request had no answer.`,
		Example: `  sudo fairway ping web db
  sudo fairway ping web 192.0.2.1 -c 1
  sudo fairway ping host web -6`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if count < 1 || count > 1000 || wait <= 0 {
				return usagef("flag --count: want 1 to 1000, and --wait more than 0")
			}
			g, err := newGround(cmd, &v, file)
			if err != nil {
				return err
			}
			if g.storeErr != nil {
				return g.storeErr
			}
			w, err := trace.Look(cmd.Context(), g.records)
			if err != nil {
				return err
			}
			show := cmd.OutOrStdout()
			if v.json {
				show = io.Discard
			}
			out, err := ping(cmd.Context(), show, w, args[0], args[1], v6, count, wait)
			if err != nil {
				return err
			}
			if v.json {
				err = printJSON(cmd.OutOrStdout(), out)
			}
			if err == nil && out.Received < out.Sent {
				err = errFound
			}
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVarP(&count, "count", "c", 3, "send `N` requests")
	f.DurationVarP(&wait, "wait", "W", time.Second, "how `long` to wait for each reply")
	f.BoolVarP(&v6, "ipv6", "6", false, "by IPv6, where TO doesn't say")
	f.BoolVar(&v.json, "json", false, "print JSON, for scripts")
	groundFlags(cmd, &v, &file)
	return cmd
}

// between is how long a ping waits from one request to the next.
const between = 200 * time.Millisecond

func ping(ctx context.Context, show io.Writer, w *trace.World, from, to string, v6 bool, count int, wait time.Duration) (out pinged, err error) {
	out = pinged{Version: 1, From: from, To: to, Seconds: []float64{}}
	way, sandbox, err := echoWay(w, from, to, v6)
	if err != nil {
		return out, err
	}
	out.Address = way.Packet.Dst.String()
	p, err := trace.NewPinger(sandbox, way.Packet.Dst)
	if err != nil {
		return out, err
	}
	defer p.Close()
	for i := range count {
		if i > 0 {
			time.Sleep(between)
		}
		out.Sent++
		d, err := p.Echo(ctx, 0, wait)
		if err != nil {
			fmt.Fprintf(show, "%s (%s): %s\n", printable(to), out.Address, err)
			continue
		}
		out.Received++
		out.Seconds = append(out.Seconds, d.Seconds())
		fmt.Fprintf(show, "reply from %s (%s): %.2f ms\n", printable(to), out.Address, d.Seconds()*1000)
	}
	if out.Received > 0 {
		return out, out.measure(ctx, show, p, wait)
	}
	if out.Reason = way.Reason; out.Reason == "" {
		out.Reason = "nothing here stops it: look at the other end, or at what is between"
	}
	_, err = fmt.Fprintf(show, "no reply: %s\n", printable(out.Reason))
	return out, err
}

// echoWay finds both ends, and works out the way.
func echoWay(w *trace.World, from, to string, v6 bool) (way trace.Way, sandbox string, err error) {
	a, err := w.Find(from, false)
	if err != nil {
		return way, "", err
	}
	b, err := w.Find(to, true)
	if err != nil {
		return way, "", err
	}
	switch {
	case b.Port != 0 || b.Outside:
		return way, "", usagef("%q: want a container, an address, or host, without a port", to)
	case a.Endpoint != nil && a.Endpoint.Sandbox == "":
		return way, "", errors.New("container " + from + ": isn't attached")
	case a.Endpoint != nil:
		sandbox = a.Endpoint.Sandbox
	case !a.Host:
		return way, "", usagef("%q: want a container, or host", from)
	}
	way, err = w.Trace(a, b, v6, "")
	return way, sandbox, err
}

// measure seeks the largest packet that comes through.
func (out *pinged) measure(ctx context.Context, show io.Writer, p *trace.Pinger, wait time.Duration) (err error) {
	out.LinkMTU = p.MTU
	if out.MTU, err = p.Largest(ctx, wait); err != nil {
		return err
	}
	if out.MTU < out.LinkMTU {
		_, err = fmt.Fprintf(show, "largest packet: %d bytes; the link takes %d, and what is larger is lost\n", out.MTU, out.LinkMTU)
		return err
	}
	_, err = fmt.Fprintf(show, "largest packet: %d bytes, the link's MTU\n", out.MTU)
	return err
}
