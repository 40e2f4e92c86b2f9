package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/hypervisors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/services"
)

const (
	// barPrefix begins the reason of each service that trustpool disabled. Services that somebody else disabled are never enabled.
	barPrefix = "trustpool: "
	// mostReason is how long Nova lets a reason be, in characters.
	mostReason = 255
)

// computeService is the nova-compute that manages a node.
type computeService struct {
	id, host string
}

// readServices adds to the states of hosts whether their compute service is disabled, and by whom. What has no service of its own is Held: a provider that is no compute node, and the nodes of a
// service that manages several, since to disable it would bar them all. While Nova does not answer, all are Held, and logged: their marks must not wait for it.
func (p *Placement) readServices(ctx context.Context, states map[string]State) {
	nodes, err := p.listNodes(ctx)
	if err != nil {
		p.env.Logger.Warn("Nova does not answer, compute services stay as they are", "error", explained(err))
	}

	p.services = make(map[string]computeService, len(nodes))

	for host, state := range states {
		uuid := p.providers[host].uuid
		node, ok := nodes[uuid]

		if !ok {
			state.Held = true
			states[host] = state

			continue
		}

		p.services[uuid] = computeService{id: node.Service.ID, host: node.Service.Host}
		state.Bar, state.Reason, state.Held = barOf(node.Status, node.Service.DisabledReason)
		states[host] = state
	}
}

// listNodes returns Nova's compute nodes that have a service of their own, by the UUIDs of their resource providers, which are the nodes' own.
func (p *Placement) listNodes(ctx context.Context) (map[string]hypervisors.Hypervisor, error) {
	if err := p.cloud.findCompute(p.config.ComputeEndpoint); err != nil {
		return nil, err
	}

	page, err := hypervisors.List(p.cloud.compute, nil).AllPages(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing hypervisors: %w", err)
	}

	found, err := hypervisors.ExtractHypervisors(page)
	if err != nil {
		return nil, fmt.Errorf("listing hypervisors: %w", err)
	}

	// The client takes an answer without the list for an empty one: no host would ever be barred, and nobody told.
	if len(found) == 0 && len(p.providers) > 0 {
		return nil, errors.New("listing hypervisors: there are none, where Placement has some: does placement.compute_endpoint, or the service catalog, lead to Nova?")
	}

	nodes := make(map[string]hypervisors.Hypervisor, len(found))
	managed := map[string]int{}

	for _, node := range found {
		nodes[node.ID] = node
		managed[node.Service.ID]++
	}

	maps.DeleteFunc(nodes, func(_ string, node hypervisors.Hypervisor) bool { return managed[node.Service.ID] > 1 })

	return nodes, nil
}

// barOf says what a service's status means.
func barOf(status, disabledReason string) (bar Bar, reason string, held bool) {
	if status != string(services.ServiceDisabled) {
		return NoBar, "", false
	}

	reason, ours := strings.CutPrefix(disabledReason, barPrefix)
	if !ours {
		return NoBar, "", true
	}

	return NoNewGuests, reason, false
}

// writeBar disables or enables the compute service, unless an operator disabled it. Services have no generation, so what they are is read just before; an operator who disables the service between
// the two finds our reason in place of his.
func (p *Placement) writeBar(ctx context.Context, uuid string, want State) error {
	service, ok := p.services[uuid]
	if !ok {
		return nil
	}

	status, disabledReason, err := p.readService(ctx, service)
	if err != nil {
		return fmt.Errorf("reading compute service %s: %w", service.host, err)
	}

	bar, _, held := barOf(status, disabledReason)
	if held || bar == want.Bar {
		return nil
	}

	update := services.UpdateOpts{Status: services.ServiceEnabled}
	if want.Bar != NoBar {
		update = services.UpdateOpts{Status: services.ServiceDisabled, DisabledReason: disabledFor(want.Reason)}
	}

	if err := services.Update(ctx, p.cloud.compute, service.id, update).Err; err != nil {
		return fmt.Errorf("changing compute service %s to %s: %w", service.host, update.Status, err)
	}

	return nil
}

// readService returns a service's status and the reason for it. A service that is gone is no ErrNoHost: the host's resource provider, with its traits, may still be there.
func (p *Placement) readService(ctx context.Context, service computeService) (status, disabledReason string, err error) {
	page, err := services.List(p.cloud.compute, services.ListOpts{Binary: "nova-compute", Host: service.host}).AllPages(ctx)
	if err != nil {
		return "", "", err
	}

	found, err := services.ExtractServices(page)
	if err != nil {
		return "", "", err
	}

	for _, one := range found {
		if one.ID == service.id {
			return one.Status, one.DisabledReason, nil
		}
	}

	return "", "", errors.New("it is not in the list of Nova any more")
}

// disabledFor is the reason as Nova takes it.
func disabledFor(reason string) string {
	runes := []rune(barPrefix + reason)

	return string(runes[:min(len(runes), mostReason)])
}
