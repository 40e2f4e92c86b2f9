package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/placement/v1/resourceproviders"
	"github.com/gophercloud/gophercloud/v2/openstack/placement/v1/traits"
)

// Placement is the sink for OpenStack: a mark is a trait of the resource provider that Placement has for a compute node, and a bar disables the node's compute service in Nova. A host's name is
// its provider's name, which Nova takes from the hypervisor (hypervisor_hostname).
//
// Traits of others are left as they are. A provider inside a node that bears one of our traits is read as a host of its own, under a name that no node has, so that the trait is taken from it: it would
// make a trusted host of the node, and only the node itself, or who manages it, can have set it.
//
// BUG: The name is all that joins a provider to the node that was attested, and whoever holds Nova's credential for Placement can change it.
type Placement struct {
	config PlacementConfig
	env    Env
	// barred: hosts may have to be kept from guests, which Nova does.
	barred bool

	// cloud is nil until it was reached. After a Read that failed it is reached anew, with what clouds.yaml and the catalog say then; what is written meanwhile is tried as before.
	cloud *cloud
	anew  bool
	// providers and services are what the last Read found that did not fail: providers by the hosts' names, compute services by the providers' UUIDs.
	providers map[string]provider
	services  map[string]computeService
}

// provider is what is known of a resource provider.
type provider struct {
	uuid string
	// root: it stands for a node, not for something in it.
	root bool
}

// Open implements File. The traits that are missing are created by the first Read, unless env says to create nothing.
func (f *PlacementFile) Open(env Env) (Sink, error) {
	if !f.Placement.AllowNoAuthentication {
		if _, err := readCredentials(f.Placement, env.ReadFile); err != nil {
			return nil, err
		}
	}

	return &Placement{config: f.Placement, env: env, barred: f.barred()}, nil
}

// Read implements Sink. It asks for all providers at once and for those with each trait at once, whatever their number.
func (p *Placement) Read(ctx context.Context) (map[string]State, error) {
	states, err := p.read(ctx)
	p.anew = err != nil

	return states, explained(err)
}

func (p *Placement) read(ctx context.Context) (map[string]State, error) {
	if err := p.reach(ctx); err != nil {
		return nil, err
	}

	all, err := p.list(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("listing resource providers: %w", err)
	}

	providers := map[string]provider{}
	states := map[string]State{}

	for _, found := range all {
		if found.ParentProviderUUID == "" {
			providers[found.Name] = provider{uuid: found.UUID, root: true}
			states[found.Name] = State{ID: found.UUID}
		}
	}

	for _, trait := range p.env.Marks {
		bearers, err := p.list(ctx, trait)
		if p.env.CreateNothing && gophercloud.ResponseCodeIs(err, http.StatusBadRequest) {
			continue // Placement does not know the trait (https://docs.openstack.org/api-ref/placement/#list-resource-providers), so nobody bears it
		}

		if err != nil {
			return nil, fmt.Errorf("listing resource providers with %s: %w", trait, err)
		}

		for _, found := range bearers {
			name := hostName(found)
			providers[name] = provider{uuid: found.UUID, root: found.ParentProviderUUID == ""}
			state := states[name]
			state.ID = found.UUID
			state.Marks = append(state.Marks, trait)
			states[name] = state
		}
	}

	p.providers = providers
	if p.barred {
		p.readServices(ctx, states)
	}

	return states, nil
}

// hostName is what a provider is called as a host. One inside a node has whatever name somebody gave it, also that of an attested node, which it is not: with the parent's UUID it is nobody's.
func hostName(of resourceproviders.ResourceProvider) string {
	if of.ParentProviderUUID == "" {
		return of.Name
	}

	return of.Name + " inside " + of.ParentProviderUUID
}

// reach authenticates, unless that was done before, and creates the traits, unless nothing is to be created. A flavor that asks for a trait which does not exist gets an error instead of a host.
func (p *Placement) reach(ctx context.Context) error {
	if p.cloud != nil && !p.anew {
		return nil
	}

	found, err := connect(ctx, p.config, p.env.ReadFile)
	if err != nil {
		return err
	}

	if !p.env.CreateNothing {
		if err := createTraits(ctx, found.placement, p.env.Marks); err != nil {
			return err
		}
	}

	p.cloud = found

	return nil
}

func createTraits(ctx context.Context, placement *gophercloud.ServiceClient, names []string) error {
	for _, name := range names {
		if err := traits.Create(ctx, placement, name).ExtractErr(); err != nil {
			return fmt.Errorf("creating trait %s: %w", name, err)
		}
	}

	return nil
}

// list returns the providers that have a trait, all providers if it is empty.
func (p *Placement) list(ctx context.Context, trait string) ([]resourceproviders.ResourceProvider, error) {
	page, err := resourceproviders.List(p.cloud.placement, resourceproviders.ListOpts{Required: trait}).AllPages(ctx)
	if err != nil {
		return nil, err
	}

	// The client takes an answer without the list for an empty one: nobody would lose a mark.
	if body, _ := page.GetBody().(map[string]any); !isList(body["resource_providers"]) {
		return nil, errors.New("the answer has no list of them: " + notPlacement)
	}

	return resourceproviders.ExtractResourceProviders(page)
}

// notPlacement is what to do about answers that are none of Placement's.
const notPlacement = "placement.endpoint, or the service catalog, leads to something else than Placement"

func isList(value any) bool {
	_, is := value.([]any)

	return is
}

// Write implements Sink.
func (p *Placement) Write(ctx context.Context, host string, want State) error {
	if p.cloud == nil {
		return errors.New("Placement was never reached")
	}

	known, ok := p.providers[host]
	if !ok {
		return fmt.Errorf("finding the resource provider of %s: %w", host, ErrNoHost)
	}

	if !known.root && len(want.Marks) > 0 {
		return fmt.Errorf("%s is a resource provider inside a compute node, not one: %w", host, ErrNoHost)
	}

	// A host that can't get both still gets the other.
	err := p.writeTraits(ctx, known.uuid, want.Marks)
	if p.barred {
		err = errors.Join(err, p.writeBar(ctx, known.uuid, want))
	}

	return explained(err)
}

// writeTries is how often a provider is written that somebody else changes between our reading and our writing, as Nova does whenever a guest comes or goes, or whose Placement has trouble of its own,
// such as a database that is locked.
const writeTries = 5

// writeTraits has the provider bear those of our traits that are wanted, and keeps all others.
func (p *Placement) writeTraits(ctx context.Context, uuid string, want []string) error {
	var err error

	conflicts := 0

	for try := 1; ; try++ {
		err = p.replaceTraits(ctx, uuid, want)

		if isConflict(err) {
			conflicts++

			p.env.Conflict()
		} else if !isTrouble(err) {
			break
		}

		if try == writeTries {
			break
		}

		if ended := pause(ctx, try); ended != nil {
			err = errors.Join(err, ended)

			break
		}
	}

	switch {
	case err == nil:
		return nil
	case gophercloud.ResponseCodeIs(err, http.StatusNotFound):
		return fmt.Errorf("writing traits: %w: %w", ErrNoHost, err)
	case isConflict(err):
		return fmt.Errorf("writing traits, in conflict with others %d times: %w", conflicts, err)
	default:
		return fmt.Errorf("writing traits: %w", err)
	}
}

// replaceTraits writes only if something differs, and only what was just read.
func (p *Placement) replaceTraits(ctx context.Context, uuid string, want []string) error {
	read := resourceproviders.GetTraits(ctx, p.cloud.placement, uuid)

	current, err := read.Extract()
	if err != nil {
		return err
	}

	// As in list: without the list, the provider would bear nothing that could be taken away, and without the generation a write has no precondition.
	body, _ := read.Body.(map[string]any)
	if body["resource_provider_generation"] == nil || !isList(body["traits"]) {
		return errors.New("the answer has no list of traits and no generation: " + notPlacement)
	}

	// Never nil, which would be sent as null. Deleting all traits instead of writing an empty list would take Nova's own with them, unseen by its generation.
	next := make([]string, 0, len(current.Traits)+len(want))

	for _, trait := range current.Traits {
		if !slices.Contains(p.env.Marks, trait) {
			next = append(next, trait)
		}
	}

	next = append(next, want...)
	slices.Sort(next)

	if slices.Equal(next, slices.Sorted(slices.Values(current.Traits))) {
		return nil
	}

	return resourceproviders.UpdateTraits(ctx, p.cloud.placement, uuid, resourceproviders.UpdateTraitsOpts{
		ResourceProviderGeneration: current.ResourceProviderGeneration, Traits: next,
	}).Err
}

// isTrouble: the API failed by no fault of the caller's, and may do better in a moment.
func isTrouble(err error) bool {
	var failed gophercloud.ErrUnexpectedResponseCode

	return errors.As(err, &failed) && failed.Actual >= http.StatusInternalServerError
}

// isConflict: somebody else changed the provider since it was read (https://docs.openstack.org/api-ref/placement/#errors).
func isConflict(err error) bool {
	var refused gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &refused) || refused.Actual != http.StatusConflict {
		return false
	}

	var answer struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}

	if json.Unmarshal(refused.Body, &answer) != nil {
		return false
	}

	for _, one := range answer.Errors {
		if one.Code == "placement.concurrent_update" {
			return true
		}
	}

	return false
}
