package main

import (
	"fmt"
	"io"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/writer"
)

// newLog returns a log on w. For the journal, lines carry their priority and
// not the time, which it stamps itself. See sd-daemon(3).
func newLog(w io.Writer, cfg config, journal bool) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(w)
	setLog(log, cfg, journal)
	return log
}

// setLog makes a log as the settings say; it may be in use. Events are among its
// entries whatever is printed of them, for those who follow events.
func setLog(log *logrus.Logger, cfg config, journal bool) {
	level, err := logrus.ParseLevel(cfg.LogLevel)
	if err != nil {
		level = log.GetLevel()
	}
	log.SetLevel(max(level, logrus.InfoLevel))
	var format logrus.Formatter = &logrus.TextFormatter{
		DisableColors: true, FullTimestamp: true, DisableTimestamp: journal,
		TimestampFormat: "2006-01-02T15:04:05.000Z07:00",
	}
	if cfg.LogFormat == "json" {
		format = &logrus.JSONFormatter{DisableTimestamp: journal}
	}
	if journal {
		format = journalFormatter{format}
	}
	log.SetFormatter(upTo{level, format})
}

// upTo leaves out what is of less interest than a level.
type upTo struct {
	level logrus.Level
	logrus.Formatter
}

func (f upTo) Format(e *logrus.Entry) ([]byte, error) {
	if e.Level > f.level {
		return nil, nil
	}
	return f.Formatter.Format(e)
}

// splitLog sends what is no warning to out. Of a managed plugin dockerd takes
// what is on the standard error for errors and what is on the standard output
// for remarks, whatever it says.
func splitLog(log *logrus.Logger, out io.Writer) {
	log.AddHook(&writer.Hook{Writer: log.Out, LogLevels: logrus.AllLevels[:logrus.WarnLevel+1]})
	log.AddHook(&writer.Hook{Writer: out, LogLevels: logrus.AllLevels[logrus.WarnLevel+1:]})
	log.SetOutput(io.Discard)
}

// journalFormatter puts the syslog priority before each line.
type journalFormatter struct{ logrus.Formatter }

func (f journalFormatter) Format(e *logrus.Entry) ([]byte, error) {
	line, err := f.Formatter.Format(e)
	if err != nil {
		return nil, err
	}
	return append(fmt.Appendf(nil, "<%d>", priority(e.Level)), line...), nil
}

func priority(l logrus.Level) int {
	switch l {
	case logrus.PanicLevel, logrus.FatalLevel:
		return 2
	case logrus.ErrorLevel:
		return 3
	case logrus.WarnLevel:
		return 4
	case logrus.InfoLevel:
		return 6
	}
	return 7
}
