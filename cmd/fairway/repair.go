package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newRepairCommand() *cobra.Command {
	var v view
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Have the daemon make the kernel as recorded now",
		Long: `Have the daemon compare the kernel with its records, and make it equal, now. It
does so by itself when the kernel notifies it of a change, and every 30 s.`,
		Example: "  sudo fairway repair",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := v.client(cmd)
			if err != nil {
				return err
			}
			n, err := c.Repair(cmd.Context())
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d repaired\n", n)
			}
			return err
		},
	}
	v.socketFlag(cmd)
	return cmd
}
