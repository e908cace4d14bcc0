package plugin

import (
	"context"

	"github.com/sirupsen/logrus"
)

// A method is one call of the protocol.
type method struct {
	run     func(*Server, context.Context, *call) (any, error)
	atOnce  bool // needs no records: answered while they are still being restored
	changes bool // logged at info
}

// methods returns every call of the protocol by its path.
func methods() map[string]method {
	return map[string]method{
		"/Plugin.Activate": {run: (*Server).activate, atOnce: true},

		"/NetworkDriver.GetCapabilities":             {run: (*Server).networkCapabilities, atOnce: true},
		"/NetworkDriver.AllocateNetwork":             {run: (*Server).allocateNetwork, atOnce: true},
		"/NetworkDriver.FreeNetwork":                 {run: (*Server).freeNetwork, atOnce: true},
		"/NetworkDriver.DiscoverNew":                 {run: (*Server).discover, atOnce: true},
		"/NetworkDriver.DiscoverDelete":              {run: (*Server).discover, atOnce: true},
		"/NetworkDriver.GwAllocCheck":                {run: (*Server).gwAllocCheck},
		"/NetworkDriver.CreateNetwork":               {run: (*Server).createNetwork, changes: true},
		"/NetworkDriver.DeleteNetwork":               {run: (*Server).deleteNetwork, changes: true},
		"/NetworkDriver.CreateEndpoint":              {run: (*Server).createEndpoint, changes: true},
		"/NetworkDriver.DeleteEndpoint":              {run: (*Server).deleteEndpoint, changes: true},
		"/NetworkDriver.EndpointOperInfo":            {run: (*Server).endpointInfo},
		"/NetworkDriver.Join":                        {run: (*Server).join, changes: true},
		"/NetworkDriver.Leave":                       {run: (*Server).leave, changes: true},
		"/NetworkDriver.ProgramExternalConnectivity": {run: (*Server).publish, changes: true},
		"/NetworkDriver.RevokeExternalConnectivity":  {run: (*Server).unpublish, changes: true},

		"/IpamDriver.GetCapabilities":         {run: (*Server).addressCapabilities, atOnce: true},
		"/IpamDriver.GetDefaultAddressSpaces": {run: (*Server).addressSpaces, atOnce: true},
		"/IpamDriver.RequestPool":             {run: (*Server).requestPool, changes: true},
		"/IpamDriver.ReleasePool":             {run: (*Server).releasePool, changes: true},
		"/IpamDriver.RequestAddress":          {run: (*Server).requestAddress, changes: true},
		"/IpamDriver.ReleaseAddress":          {run: (*Server).releaseAddress, changes: true},
	}
}

// A call is one request on its way.
type call struct {
	engine string // the engine that sent it
	body   []byte
	fields logrus.Fields // what it is about, for the log: checked values only
}

// note adds a field to the call's log line.
func (c *call) note(key, value string) *call {
	c.fields[key] = value
	return c
}

// reference decodes the body and notes what it names.
func (c *call) reference(decode func([]byte) (reference, error)) (reference, error) {
	ref, err := decode(c.body)
	if err == nil {
		c.note("network", ref.network).note("endpoint", ref.endpoint)
	}
	return ref, err
}
