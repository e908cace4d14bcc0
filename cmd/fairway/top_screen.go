package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"fairway/admin"

	"golang.org/x/sys/unix"
)

// What a terminal does on these: see console_codes(4).
const (
	screenOwn  = "\x1b[?1049h\x1b[?25l" // a screen of its own, without a cursor
	screenBack = "\x1b[?25h\x1b[?1049l"
	screenHome = "\x1b[H"
	lineRest   = "\x1b[K" // is cleared
	screenRest = "\x1b[J"
)

// follow shows rates on a terminal until q is pressed or ctx ends. The terminal
// is as it was then, whatever happened.
func (t *topCommand) follow(ctx context.Context, c *admin.Client, screen *os.File) (err error) {
	before, err := c.Traffic(ctx)
	if err != nil {
		return err
	}
	back, err := unlined(os.Stdin)
	if err != nil {
		return err
	}
	fmt.Fprint(screen, screenOwn)
	defer func() {
		fmt.Fprint(screen, screenBack)
		back()
	}()
	typed := keys(os.Stdin)
	all := topped{}
	wait := min(t.every, 500*time.Millisecond) // the first list comes soon
	for tick := time.NewTimer(wait); ; {
		select {
		case <-ctx.Done():
			return nil
		case key, ok := <-typed:
			if !ok || t.press(key, networksOf(all)) {
				return nil
			}
		case <-tick.C:
			after, err := c.Traffic(ctx)
			if err != nil {
				return err
			}
			all, before = ratesOf(before, after), after
			tick.Reset(t.every)
		}
		width, height := sizeOf(screen)
		if err := t.paint(screen, t.chosen(all), width, height, time.Now()); err != nil {
			return err
		}
	}
}

// paint draws one screen. What doesn't fit is left out, from below and from the
// right.
func (t *topCommand) paint(w io.Writer, r topped, width, height int, now time.Time) error {
	var table bytes.Buffer
	if err := printTable(&table, t.listRates(r)); err != nil {
		return err
	}
	head := fmt.Sprintf("fairway top  %s  %d containers' links, by %s", now.Format(time.TimeOnly), len(r.Endpoints), t.order)
	if t.network != "" {
		head += ", on network " + printable(t.network)
	}
	if t.dropping {
		head += ", only with drops"
	}
	lines := append([]string{head, "s sort  n network  d drops  q quit", ""}, strings.Split(strings.TrimSuffix(table.String(), "\n"), "\n")...)
	if len(lines) > height {
		lines = lines[:height]
	}
	var out strings.Builder
	out.WriteString(screenHome)
	for i, l := range lines {
		if i > 0 {
			out.WriteByte('\n')
		}
		out.WriteString(firstOf(l, width) + lineRest)
	}
	out.WriteString(screenRest)
	_, err := io.WriteString(w, out.String())
	return err
}

// firstOf returns the first so many characters of a line.
func firstOf(s string, width int) string {
	for i := range s {
		if width--; width < 0 {
			return s[:i]
		}
	}
	return s
}

// sizeOf returns how many characters and lines a terminal shows.
func sizeOf(f *os.File) (width, height int) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Row == 0 || size.Col == 0 {
		return 80, 24
	}
	return int(size.Col), int(size.Row)
}

// unlined has a terminal give each key at once and show none, and returns what
// makes it as it was: see termios(3).
func unlined(f *os.File) (back func(), err error) {
	fd := int(f.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	now := *was
	now.Lflag &^= unix.ICANON | unix.ECHO
	now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &now); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, was) }, nil
}
