package main

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"
)

// compose builds the daemon's parts from the real packages: the one place that
// knows them all. What it opens, parts.close closes; what it returns an error
// for, it has closed itself. It starts nothing: what runs is a task.
func compose(context.Context, config, logrus.FieldLogger) (parts, error) {
	return parts{}, errors.New("not composed yet")
}
