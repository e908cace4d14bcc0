package engine

import "context"

// Look asks the engine behind a socket once for everything of fairway's, and for
// its version.
func Look(ctx context.Context, socket string) (v View, version string, err error) {
	c := newClient(socket)
	defer c.close()
	id, version, err := c.identify(ctx)
	if err != nil {
		return View{}, "", err
	}
	v, err = c.look(ctx, id, nil)
	return v, version, err
}
