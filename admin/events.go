package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"time"

	"fairway/event"
)

// Events are the last events of the daemon.
type Events interface {
	// From returns those that are kept from a number on, how many aren't any more,
	// and what is closed when there is another.
	From(number uint64) (events []event.Event, lost uint64, more <-chan struct{})
}

// events answers with a line of JSON for each event that is kept since a time.
// With ?follow=1 what happens from then on follows, until the client or the
// daemon ends; without a time just that.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	var since time.Time
	if query.Get("follow") == "1" {
		since = time.Now()
	}
	if text := query.Get("since"); text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			reply(w, http.StatusBadRequest, failure{Version, fmt.Sprintf("since %q: want a time as RFC 3339 writes it", text)})
			return
		}
	}
	follow := query.Get("follow") == "1"
	control := http.NewResponseController(w)
	if follow { // it lasts as long as both want
		_, _ = control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	for next := uint64(1); ; {
		all, lost, more := s.Events.From(next)
		if lost > 0 && next > 1 { // from before it asked they aren't missed
			all = append([]event.Event{tooSlow(next, lost)}, all...)
		}
		next += lost
		containers, networks := s.called(all)
		for _, e := range all {
			next = max(next, e.Number+1)
			if !e.Time.Before(since) && out.Encode(withNames(e, containers, networks)) != nil {
				return
			}
		}
		if control.Flush() != nil || !follow {
			return
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		case <-s.ending:
			return
		}
	}
}

func tooSlow(number, lost uint64) event.Event {
	return event.Event{
		Number: number, Time: time.Now(), Kind: event.Lost, Severity: "warning", Fields: map[string]string{},
		Message: fmt.Sprintf("%d events are lost: the reader was too slow", lost),
	}
}

// called returns the names of containers by endpoint, and of networks, both by
// their IDs, if an event is of one of them: they become known a moment after it.
func (s *Server) called(all []event.Event) (containers, networks map[string]string) {
	for _, e := range all {
		if e.Fields["endpoint"] != "" && containers == nil {
			containers = map[string]string{}
			for _, r := range s.Records.Endpoints() {
				containers[r.ID] = r.Container
			}
		}
		if e.Fields["network_id"] != "" && networks == nil {
			networks = networkNames(s.Records)
		}
	}
	return containers, networks
}

// withNames returns e with names that are known by now.
func withNames(e event.Event, containers, networks map[string]string) event.Event {
	container, network := containers[e.Fields["endpoint"]], networks[e.Fields["network_id"]]
	if container == "" && network == "" {
		return e
	}
	e.Fields = maps.Clone(e.Fields) // the ring's are everybody's
	if container != "" {
		e.Fields["container"] = container
	}
	if network != "" {
		e.Fields["network"] = network
	}
	return e
}

// Events calls got for each event that is kept since a time; for the zero time
// all, or none with follow. With that it goes on with those that happen, until
// the context ends: that is no error. The end of the daemon is.
func (c *Client) Events(ctx context.Context, since time.Time, follow bool, got func(event.Event) error) error {
	query := url.Values{}
	if !since.IsZero() {
		query.Set("since", since.Format(time.RFC3339Nano))
	}
	if follow {
		query.Set("follow", "1")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://fairway/v1/events?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	endless := http.Client{Transport: c.http.Transport}
	resp, err := endless.Do(req)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil
	case err != nil:
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxReply))
		return c.refused(resp, text)
	}
	for lines := json.NewDecoder(resp.Body); ; {
		var e event.Event
		err := lines.Decode(&e)
		switch {
		case ctx.Err() != nil || errors.Is(err, io.EOF) && !follow:
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w: it has ended", c.socket, ErrUnreachable)
		}
		if err := got(e); err != nil {
			return err
		}
	}
}
