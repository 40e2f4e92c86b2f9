package kubernetestest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// standIn answers the requests about nodes as kube-apiserver does, as far as the suite goes: what it says of revisions, pages and patches is held against the real one by running the same suite on both.
type standIn struct {
	mu       sync.Mutex
	revision int
	floor    int // older revisions are compacted
	nodes    map[string]object
}

// object is a Kubernetes object as JSON has it.
type object = map[string]any

func newStandIn(t *testing.T) *cluster {
	t.Helper()

	s := &standIn{nodes: make(map[string]object), revision: 1}
	server := httptest.NewTLSServer(s)
	t.Cleanup(server.Close)

	return &cluster{
		url: server.URL, ca: server.Certificate().Raw, admin: "admin", publisher: "publisher", stranger: "stranger",
		compact: func(*testing.T) {
			s.mu.Lock()
			defer s.mu.Unlock()

			s.floor = s.revision
		},
	}
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()

	switch token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); token {
	case "admin", "publisher":
	case "stranger":
		refuse(w, http.StatusForbidden, "Forbidden")
		return
	default:
		refuse(w, http.StatusUnauthorized, "Unauthorized")
		return
	}

	name, one := strings.CutPrefix(r.URL.Path, "/api/v1/nodes/")

	switch {
	case r.URL.Path == "/api/v1/nodes" && r.Method == http.MethodGet:
		s.list(w, r)
	case r.URL.Path == "/api/v1/nodes" && r.Method == http.MethodPost:
		node := decode(r)
		spec := child(node, "spec")
		taints, _ := spec["taints"].([]any)
		spec["taints"] = append(taints, object{"key": notReady, "effect": "NoSchedule"}) // admission plugin TaintNodesByCondition
		s.store(w, node, http.StatusCreated)
	case one && s.nodes[name] == nil:
		refuse(w, http.StatusNotFound, "NotFound")
	case one && r.Method == http.MethodGet:
		answer(w, http.StatusOK, s.nodes[name])
	case one && r.Method == http.MethodPut:
		s.put(w, name, decode(r))
	case one && r.Method == http.MethodPatch && r.Header.Get("Content-Type") == "application/merge-patch+json":
		s.patch(w, name, decode(r))
	case one && r.Method == http.MethodDelete:
		delete(s.nodes, name)
		s.revision++
		answer(w, http.StatusOK, object{"kind": "Status"})
	default:
		http.Error(w, "404 page not found", http.StatusNotFound)
	}
}

// list answers a page. The continue token is the revision of the first page and the last name.
func (s *standIn) list(w http.ResponseWriter, r *http.Request) {
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	names := slices.Sorted(maps.Keys(s.nodes))
	revision := s.revision

	if token := r.URL.Query().Get("continue"); token != "" {
		var after string
		if _, err := fmt.Sscan(token, &revision, &after); err != nil || revision < s.floor {
			refuse(w, http.StatusGone, "Expired")
			return
		}

		names = slices.DeleteFunc(names, func(name string) bool { return name <= after })
	}

	metadata := object{}
	if limit > 0 && len(names) > limit {
		names = names[:limit]
		metadata["continue"] = fmt.Sprint(revision, " ", names[limit-1])
	}

	items := []object{}
	for _, name := range names {
		items = append(items, s.nodes[name])
	}

	answer(w, http.StatusOK, object{"kind": "NodeList", "metadata": metadata, "items": items})
}

func (s *standIn) put(w http.ResponseWriter, name string, node object) {
	if given := node["metadata"].(object)["resourceVersion"]; given != nil && given != s.nodes[name]["metadata"].(object)["resourceVersion"] {
		refuse(w, http.StatusConflict, "Conflict")
		return
	}

	s.store(w, node, http.StatusOK)
}

// patch is a JSON merge patch (RFC 7386), in which a resourceVersion is a condition.
func (s *standIn) patch(w http.ResponseWriter, name string, change object) {
	metadata := s.nodes[name]["metadata"].(object)
	if given := child(change, "metadata")["resourceVersion"]; given != nil && given != metadata["resourceVersion"] {
		refuse(w, http.StatusConflict, "Conflict")
		return
	}

	node := clone(s.nodes[name])
	merge(node, change)

	if old := s.nodes[name]; equal(old, node) {
		answer(w, http.StatusOK, old)
		return
	}

	s.store(w, node, http.StatusOK)
}

func merge(into, change object) {
	for key, value := range change {
		switch value := value.(type) {
		case nil:
			delete(into, key)
		case object:
			merge(child(into, key), value)
			if len(into[key].(object)) == 0 {
				delete(into, key)
			}
		case []any: // where nothing is left, nothing is said
			if into[key] = value; len(value) == 0 {
				delete(into, key)
			}
		default:
			into[key] = value
		}
	}
}

func (s *standIn) store(w http.ResponseWriter, node object, code int) {
	s.revision++
	metadata := child(node, "metadata")
	metadata["resourceVersion"] = strconv.Itoa(s.revision)
	s.nodes[metadata["name"].(string)] = node
	answer(w, code, node)
}

func child(of object, key string) object {
	if _, ok := of[key].(object); !ok {
		of[key] = object{}
	}

	return of[key].(object)
}

func clone(o object) object {
	var c object
	if err := json.Unmarshal(encode(o), &c); err != nil {
		panic(err)
	}

	return c
}

func equal(a, b object) bool { return string(encode(a)) == string(encode(b)) }

func encode(o object) []byte {
	content, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}

	return content
}

func decode(r *http.Request) object {
	var o object
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		panic(err)
	}

	return o
}

func answer(w http.ResponseWriter, code int, o object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(encode(o)) // the test sees what it did not get
}

func refuse(w http.ResponseWriter, code int, reason string) {
	answer(w, code, object{"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "the stand-in says: " + reason})
}
