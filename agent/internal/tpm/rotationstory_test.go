package tpm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// storyAKs is how many generations of the AK the stories have.
const storyAKs = 3

// place is all that outlives an agent: its record, and which AKs are at their handles.
type place struct {
	record string // the file; empty: there is none
	kept   [storyAKs + 1]bool
}

// standing is what an agent finds in a place when it starts: the AKs' generations, -1 for none.
type standing struct{ inUse, pending int }

// telling tells stories of rotations on one TPM.
type telling struct {
	t      *testing.T
	node   *tpmsim.Node
	record string
	names  [][]byte // of the AKs, by generation
}

// knife cuts the way to the TPM for good, before or after a command; an agent's end by SIGKILL looks the same to the TPM.
type knife struct {
	transport.TPM
	mu     sync.Mutex
	armed  bool
	after  int // so many commands from arm on pass
	lost   bool
	severs bool // with the command that is cut, not only its response
}

var errCut = errors.New("cut")

func (k *knife) Close() error { return nil }

// arm has the way cut at the n-th command from now on: before it reaches the TPM, or before its response comes back.
func (k *knife) arm(n int, before bool) {
	k.mu.Lock()
	defer k.mu.Unlock()

	k.armed, k.after, k.severs = true, n, before
}

// Send implements transport.TPM.
func (k *knife) Send(command []byte) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()

	if k.lost {
		return nil, errCut
	}

	k.lost = k.armed && k.after == 0
	k.after--

	if k.lost && k.severs {
		return nil, errCut
	}

	response, err := k.TPM.Send(command)
	if k.lost {
		return nil, errCut
	}

	return response, err
}

// wasUsed tells whether the way was cut.
func (k *knife) wasUsed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()

	return k.lost
}

func newTelling(t *testing.T) *telling {
	t.Helper()

	s := &telling{t: t, node: tpmsimtest.Start(t, tpmsim.Options{}), record: filepath.Join(t.TempDir(), "ak.json")}

	for generation := range uint32(storyAKs + 1) {
		record, err := keys{tpm: s.node}.next(ECDSAP256, DefaultHandle, generation)
		if err != nil {
			t.Fatal(err)
		}

		s.names = append(s.names, record.Name)
	}

	return s
}

// agent starts an agent and returns it when it can quote, or can't.
func (s *telling) agent(way *knife) (owner *TPM, state State, stop func()) {
	s.t.Helper()

	states := make(chan State, 1000)
	owner = New(Options{
		Open:      func() (transport.TPMCloser, error) { return way, nil },
		Algorithm: ECDSAP256, Handle: DefaultHandle, RecordFile: s.record, Queue: 16,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), OnState: func(state State) { states <- state },
	})
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)

	go func() { done <- owner.Run(ctx) }()

	return owner, <-states, func() {
		cancel()

		if err := <-done; err != nil {
			s.t.Errorf("Run: %v", err)
		}

		s.flush()
	}
}

// flush does what the kernel does for a process that closes /dev/tpmrm0, or is killed.
func (s *telling) flush() {
	s.t.Helper()

	handles, err := handlesBetween(s.node, 0x80000000, 0x80FFFFFF)
	if err != nil {
		s.t.Fatal(err)
	}

	for _, handle := range handles {
		if err := (keys{tpm: s.node}).flush(handle); err != nil {
			s.t.Fatal(err)
		}
	}
}

// set makes the world as it is in a place.
func (s *telling) set(p place) {
	s.t.Helper()

	k := keys{tpm: s.node}

	for generation, kept := range p.kept {
		record := KeyRecord{Algorithm: ECDSAP256, Generation: uint32(generation), Handle: DefaultHandle + tpm2.TPMHandle(generation), Name: s.names[generation]} // #nosec G115 -- a small number

		var err error
		if kept {
			_, _, err = k.ensure(record)
		} else {
			err = k.remove(record)
		}

		if err != nil {
			s.t.Fatal(err)
		}
	}

	if err := os.WriteFile(s.record, []byte(p.record), 0o600); err != nil {
		s.t.Fatal(err)
	}

	if p.record == "" {
		if err := os.Remove(s.record); err != nil {
			s.t.Fatal(err)
		}
	}
}

// see returns the place that the world is in.
func (s *telling) see() (p place) {
	s.t.Helper()

	content, err := os.ReadFile(s.record)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}

	p.record = string(content)

	for generation := range p.kept {
		occupant, err := keys{tpm: s.node}.publicAt(DefaultHandle + tpm2.TPMHandle(generation)) // #nosec G115 -- a small number
		if err != nil {
			s.t.Fatal(err)
		}

		p.kept[generation] = occupant != nil && bytes.Equal(occupant.Name.Buffer, s.names[generation])
	}

	return p
}

// start starts an agent in the present place, has it quote by all its AKs, ends it, and returns what it found. Whatever happened before, it has to be able to quote, by its AKs and by no others, and to leave
// nothing loaded and nothing at a handle but these AKs and the one that comes next.
func (s *telling) start() (standing, error) {
	s.t.Helper()

	owner, state, stop := s.agent(&knife{TPM: s.node})
	defer stop()

	if state.Err != nil {
		return standing{}, fmt.Errorf("can't quote: %w", state.Err)
	}

	found := standing{s.generation(state.AK), s.generation(state.Pending)}

	for generation, name := range s.names {
		nonce := bytes.Repeat([]byte{byte(generation)}, 32)
		quote, err := owner.Quote(s.t.Context(), Request{ExtraData: nonce, Selections: []Selection{Select(tpm2.TPMAlgSHA256, 17)}, AKName: name})

		switch has := generation == found.inUse || generation == found.pending; {
		case has && err != nil:
			return found, fmt.Errorf("AK %d: %w", generation, err)
		case !has && err == nil:
			return found, fmt.Errorf("a quote by AK %d, which is none", generation)
		case has && !bytes.Equal(quote.AK.Name(), name):
			return found, fmt.Errorf("a quote by another AK than %d, which was asked for", generation)
		case has:
			if err := quote.Hold(nonce); err != nil {
				return found, fmt.Errorf("a quote by AK %d that does not hold: %w", generation, err)
			}
		}
	}

	for generation, kept := range s.see().kept {
		if own := generation == found.inUse || generation == found.pending; kept != own && (own || generation != found.inUse+1) {
			return found, fmt.Errorf("AK %d in use, %d pending; AK %d at its handle: %v", found.inUse, found.pending, generation, kept)
		}
	}

	return found, nil
}

func (s *telling) generation(ak *AK) int {
	if ak == nil {
		return -1
	}

	return slices.IndexFunc(s.names, func(name []byte) bool { return bytes.Equal(name, ak.Name()) })
}

// chapter is what may happen in a place, and what may be found after it.
type chapter struct {
	name string
	does func(*telling, *knife) error
	// cuts: it can be cut at any command.
	cuts bool
	ends func(before standing, p place, cut bool) []standing
}

// unchanged: nothing happened that an agent would know of.
func unchanged(before standing, _ place, _ bool) []standing { return []standing{before} }

// lowest: without a record the kept AK with the lowest generation is the one in use, and none is pending.
func lowest(_ standing, p place, _ bool) []standing {
	return []standing{{max(0, slices.Index(p.kept[:], true)), -1}}
}

func chapters() []chapter {
	asNew := []standing{{0, -1}} // nothing is left that tells of rotations

	return []chapter{
		{name: "restart", does: func(s *telling, way *knife) error { return s.run(way, nil) }, cuts: true, ends: unchanged},
		{name: "rotate", does: (*telling).rotate, cuts: true, ends: func(before standing, _ place, cut bool) []standing {
			rotated := standing{before.inUse, before.inUse + 1}
			if cut {
				return []standing{before, rotated}
			}

			return []standing{rotated}
		}},
		{name: "commit", does: (*telling).commit, cuts: true, ends: func(before standing, _ place, cut bool) []standing {
			switch committed := (standing{before.pending, -1}); {
			case before.pending < 0:
				return []standing{before}
			case cut:
				return []standing{before, committed}
			default:
				return []standing{committed}
			}
		}},
		{name: "TPM2_Clear", does: func(s *telling, _ *knife) error { return s.clear() }, ends: func(before standing, p place, _ bool) []standing {
			if p.record == "" {
				return asNew
			}

			return []standing{before}
		}},
		{name: "record lost", does: func(s *telling, _ *knife) error { return s.lose() }, ends: lowest},
		{name: "TPM2_Clear and record lost", does: func(s *telling, _ *knife) error { return errors.Join(s.clear(), s.lose()) }, ends: func(standing, place, bool) []standing {
			return asNew
		}},
	}
}

func (s *telling) clear() error {
	_, err := tpm2.Clear{AuthHandle: tpm2.TPMRHPlatform}.Execute(s.node)

	return err
}

func (s *telling) lose() error {
	if err := os.Remove(s.record); !errors.Is(err, os.ErrNotExist) {
		return err
	}

	return nil
}

// run has an agent do something.
func (s *telling) run(way *knife, do func(*TPM, State) error) error {
	owner, state, stop := s.agent(way)
	defer stop()

	if state.Err != nil || do == nil {
		return state.Err
	}

	return do(owner, state)
}

func (s *telling) rotate(way *knife) error {
	return s.run(way, func(owner *TPM, state State) error {
		ak, err := owner.Rotate(s.t.Context())
		if err == nil && s.generation(ak) != s.generation(state.AK)+1 {
			return fmt.Errorf("the next AK is %d", s.generation(ak))
		}

		return err
	})
}

func (s *telling) commit(way *knife) error {
	return s.run(way, func(owner *TPM, state State) error {
		ak := state.Pending
		if ak == nil {
			ak = state.AK
		}

		return owner.Commit(s.t.Context(), ak.Name())
	})
}

// page is a place with the story that led there.
type page struct {
	place
	story []string
}

// TestEveryStoryOfARotationEndsWell explores what rotations, their ends, restarts, kills at each command to the TPM, TPM2_Clear and the loss of the record can lead to, from each place that they lead to: what
// was committed stays, what was not is never taken, and the agent can quote.
func TestEveryStoryOfARotationEndsWell(t *testing.T) {
	t.Parallel()

	s := newTelling(t)
	seen := map[place]bool{{}: true}
	told := 0

	for pages := []page{{}}; len(pages) > 0; pages = pages[1:] {
		from := pages[0]

		s.set(from.place)

		before, err := s.start()
		if err != nil {
			t.Fatalf("%s: %v", strings.Join(from.story, ", "), err)
		}

		if before.inUse == storyAKs-1 {
			continue // the last that the stories have
		}

		for _, c := range chapters() {
			for _, next := range s.tell(from, before, c) {
				told++

				if !seen[next.place] {
					seen[next.place] = true
					pages = append(pages, next)
				}
			}
		}
	}

	t.Logf("%d ends of chapters, %d places", told, len(seen))
}

// tell has a chapter happen in a place, whole and then cut at each command, and returns the pages that follow.
func (s *telling) tell(from page, before standing, c chapter) (follow []page) {
	s.t.Helper()

	happen := func(name string, way *knife) (wasCut bool) {
		next := page{story: append(slices.Clone(from.story), name)}

		s.set(from.place)
		err := c.does(s, way)
		wasCut = way.wasUsed()

		if !wasCut && err != nil {
			s.t.Fatalf("%s: %v", strings.Join(next.story, ", "), err)
		}

		next.place = s.see()

		after, err := s.start()
		if want := c.ends(before, from.place, wasCut); err != nil || !slices.Contains(want, after) {
			s.t.Fatalf("%s: found %+v (error: %v), want one of %+v", strings.Join(next.story, ", "), after, err, want)
		}

		follow = append(follow, next)

		return wasCut
	}

	happen(c.name, &knife{TPM: s.node})

	for n := 0; c.cuts; n++ {
		way := &knife{TPM: s.node}
		way.arm(n, true)

		if !happen(fmt.Sprintf("%s cut before command %d", c.name, n), way) {
			break
		}

		way = &knife{TPM: s.node}
		way.arm(n, false)
		happen(fmt.Sprintf("%s cut after command %d", c.name, n), way)
	}

	return follow
}
