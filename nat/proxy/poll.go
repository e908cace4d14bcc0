package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A poller calls functions when sockets can be read: epoll(7), level-triggered.
// Go's own would need a goroutine for each.
type poller struct {
	epoll, wake int

	mu    sync.Mutex
	last  token
	ready map[token]func()
}

// A token is what a socket is known by: its number may be another's meanwhile.
// 0 is the poller's own.
type token uint64

func newPoller() (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = control(epoll, unix.EPOLL_CTL_ADD, wake, 0)
	}
	if err != nil {
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return &poller{epoll: epoll, wake: wake, ready: map[token]func(){}}, nil
}

func control(epoll, op, fd int, t token) error {
	return unix.EpollCtl(epoll, op, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(t), Pad: int32(t >> 32)})
}

// add has ready called, by run, whenever fd can be read. It may be called once
// more after remove.
func (p *poller) add(fd int, ready func()) (token, error) {
	p.mu.Lock()
	p.last++
	t := p.last
	p.ready[t] = ready
	p.mu.Unlock()
	if err := control(p.epoll, unix.EPOLL_CTL_ADD, fd, t); err != nil {
		p.mu.Lock()
		delete(p.ready, t)
		p.mu.Unlock()
		return 0, fmt.Errorf("epoll: %w", err)
	}
	return t, nil
}

func (p *poller) remove(fd int, t token) {
	p.mu.Lock()
	delete(p.ready, t)
	p.mu.Unlock()
	_ = control(p.epoll, unix.EPOLL_CTL_DEL, fd, 0)
}

// run calls what is ready until the context ends. After that, each time, it
// calls after, which says how long to wait at most; negative: for ever.
func (p *poller) run(ctx context.Context, after func() time.Duration) error {
	stop := context.AfterFunc(ctx, func() {
		_, _ = unix.Write(p.wake, binary.NativeEndian.AppendUint64(nil, 1))
	})
	defer stop()
	events := make([]unix.EpollEvent, 64)
	for ctx.Err() == nil {
		timeout := -1
		if d := after(); d >= 0 {
			timeout = int(d.Milliseconds())
		}
		n, err := unix.EpollWait(p.epoll, events, timeout)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			p.mu.Lock()
			ready := p.ready[token(uint32(e.Fd))|token(uint32(e.Pad))<<32]
			p.mu.Unlock()
			if ready != nil {
				ready()
			}
		}
	}
	return nil
}

func (p *poller) close() error {
	return errors.Join(unix.Close(p.wake), unix.Close(p.epoll))
}
