package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

const contentType = "application/vnd.docker.plugins.v1.2+json"

// errNoAddress refuses to release an address that isn't named.
var errNoAddress = errors.New("malformed request: Address: want an IP address") //nolint:gochecknoglobals // an error value

// ServeHTTP answers one request. Errors of the drivers are replies with status
// 200, as dockerd expects them; another status is for what is no call at all.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m, ok := s.methods[r.URL.Path]
	switch {
	case !ok:
		// Docker takes 404 for "not implemented" where a method is optional.
		reply(w, http.StatusNotFound, failure("Err", fmt.Errorf("%s: no such method", excerpt(r.URL.Path))))
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		reply(w, http.StatusMethodNotAllowed, failure("Err", fmt.Errorf("%s: want POST", r.URL.Path)))
		return
	}
	// The whole body, before anything is done: what is cut off is no request.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.BodyLimit))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		s.Log.WithField("method", name(r)).Warn("request body over the limit refused")
		reply(w, http.StatusRequestEntityTooLarge,
			failure("Err", fmt.Errorf("%s: request body of more than %d bytes", name(r), tooLarge.Limit)))
		return
	}
	if err != nil {
		reply(w, http.StatusBadRequest, failure("Err", fmt.Errorf("%s: read body: %w", name(r), err)))
		return
	}
	engine, _ := r.Context().Value(engineKey{}).(string)
	c := &call{engine: engine, body: body, fields: logrus.Fields{"method": name(r)}}
	start := time.Now()
	v, err := s.call(r.Context(), m, c)
	took := time.Since(start)
	if err != nil {
		v = failure(errorKey(r), err)
	}
	reply(w, http.StatusOK, v)
	s.Called(name(r), took, err)
	s.log(m, c, took, err) // dockerd needn't wait for whoever reads the log
}

// call runs m once the records are there, in the time that a call has.
func (s *Server) call(ctx context.Context, m method, c *call) (v any, err error) {
	// A client that goes away doesn't undo its call: whatever the call does is
	// whole, and the client's next one finds it.
	run, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.CallTimeout)
	defer cancel()
	if base, ok := ctx.Value(baseKey{}).(context.Context); ok {
		defer context.AfterFunc(base, cancel)()
	}
	if !m.atOnce && s.Broken != nil {
		return nil, s.Broken
	}
	if !m.atOnce {
		if err := s.awaitReady(ctx); err != nil {
			return nil, err
		}
	}
	if v, err = s.guard(run, m, c); errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("not done within %s: %w", s.CallTimeout, err)
	}
	return v, err
}

// awaitReady waits for the restore.
func (s *Server) awaitReady(ctx context.Context) error {
	select {
	case <-s.Ready:
		return nil
	default:
	}
	timer := time.NewTimer(s.ReadyTimeout)
	defer timer.Stop()
	select {
	case <-s.Ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the restore: %w", ctx.Err())
	case <-timer.C:
		return fmt.Errorf("fairway is still restoring its networks (waited %s): try again", s.ReadyTimeout)
	}
}

// guard turns a panic into an error: one bad call must not take down the
// daemon that serves all others.
func (s *Server) guard(ctx context.Context, m method, c *call) (v any, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.Log.WithFields(c.fields).WithField("stack", string(debug.Stack())).Errorf("panic: %v", p)
			v, err = nil, errors.New("internal error in fairway: its log says more")
		}
	}()
	return m.run(s, ctx, c)
}

func (s *Server) log(m method, c *call, took time.Duration, err error) {
	l := s.Log.WithFields(c.fields).WithField("took", took.Round(time.Microsecond).String())
	switch {
	case err != nil:
		l.WithError(err).Warn("call refused")
	case m.changes:
		l.Info("call done")
	default:
		l.Debug("call done")
	}
}

func name(r *http.Request) string { return strings.TrimPrefix(r.URL.Path, "/") }

// errorKey is the field that dockerd looks for an error in: the two drivers'
// protocols differ.
func errorKey(r *http.Request) string {
	if strings.HasPrefix(r.URL.Path, "/IpamDriver.") {
		return "Error"
	}
	return "Err"
}

// failure is the reply for err. Its text is never empty: that means success.
func failure(key string, err error) map[string]string {
	return map[string]string{key: cmp.Or(err.Error(), "unknown error")}
}

func reply(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // a value of EndpointInfo that JSON has no form for
		body, _ = json.Marshal(failure("Err", fmt.Errorf("encode reply: %w", err)))
	}
	body = append(body, '\n')
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that is gone gets no reply
	_ = http.NewResponseController(w).Flush()
}

// quietLog takes net/http's own remarks, such as a broken connection.
func quietLog(l logrus.FieldLogger) *log.Logger {
	return log.New(debugWriter{l}, "", 0)
}

type debugWriter struct{ log logrus.FieldLogger }

func (w debugWriter) Write(p []byte) (int, error) {
	w.log.Debug(strings.TrimSpace(string(p)))
	return len(p), nil
}
