// Package daemon holds what the commands share: how they start and end, read their config, log, and show themselves to the operator.
package daemon
