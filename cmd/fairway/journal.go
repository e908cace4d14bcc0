package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/sirupsen/logrus"

	"fairway/event"
)

// A journalHook sends entries to systemd's journal with their fields in capitals,
// and events with the MESSAGE_ID of their kind: see systemd.journal-fields(7).
// What the journal doesn't take goes to the stream that it reads.
type journalHook struct {
	stream io.Writer
	ids    map[string]string // MESSAGE_ID by the name of the event
}

// toJournal makes log send to the journal what it has written to stream.
func toJournal(log *logrus.Logger, stream io.Writer) {
	h := &journalHook{stream, map[string]string{}}
	for _, k := range event.Kinds() {
		h.ids[k.Name] = k.ID
	}
	log.SetOutput(io.Discard)
	log.AddHook(h)
}

// Levels are all: the formatter leaves out what isn't printed.
func (h *journalHook) Levels() []logrus.Level { return logrus.AllLevels }

// Fire sends an entry.
func (h *journalHook) Fire(e *logrus.Entry) error {
	line, err := e.Bytes()
	if err != nil || len(line) == 0 {
		return err
	}
	text := strings.TrimSuffix(string(line), "\n")
	if strings.HasPrefix(text, "<") { // the stream's priority
		_, text, _ = strings.Cut(text, ">")
	}
	if journal.Send(text, journal.Priority(priority(e.Level)), h.fields(e)) == nil {
		return nil
	}
	_, err = h.stream.Write(line)
	return err
}

// fields returns what the journal keeps beside the message. Names that aren't a
// field's are left out.
func (h *journalHook) fields(e *logrus.Entry) map[string]string {
	out := map[string]string{"SYSLOG_IDENTIFIER": "fairway"}
	for name, value := range e.Data {
		name = strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" || name[0] == '_' || len(name) > 64 {
			continue
		}
		out[name] = fmt.Sprint(value)
	}
	if kind, ok := e.Data[event.Field].(string); ok && h.ids[kind] != "" {
		out["MESSAGE_ID"] = h.ids[kind]
	}
	return out
}
