//go:build release

package service

import (
	"strings"

	"fairway/event"
)

// journal: what happened to two containers is found in the journal by the kind of
// event and by fields, and explained by the catalogue.
func (m *machine) journal() {
	m.t.Helper()
	for _, k := range event.Kinds() {
		if k.Name != event.Attach {
			continue
		}
		m.sh("journalctl --sync")
		found := m.sh("journalctl -q -o json --output-fields=ENDPOINT,SYSLOG_IDENTIFIER,_SYSTEMD_UNIT MESSAGE_ID=" + k.ID)
		if strings.Count(found, `"ENDPOINT":"`) != 2 || strings.Count(found, `"_SYSTEMD_UNIT":"fairway.service"`) != 2 || strings.Count(found, `"SYSLOG_IDENTIFIER":"fairway"`) != 2 {
			m.t.Errorf("two containers were attached; the journal has\n%s", found)
		}
		if text := m.sh("journalctl -q -x -n 1 MESSAGE_ID=" + k.ID); !strings.Contains(text, k.Title) || strings.Contains(text, "@NETWORK@") {
			m.t.Errorf("journalctl -x explains it with\n%s", text)
		}
	}
}
