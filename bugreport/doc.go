// Package bugreport packs what helps to find an error, and nothing else: each
// file of a report, and each line taken from the host, is on a list of what is
// allowed. There is nothing in it of other programs' rules, of files, of
// environments, and of what Docker knows of containers beside fairway.
package bugreport
