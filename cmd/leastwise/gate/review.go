package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// The parts of admission.k8s.io/v1 that are used
// (https://kubernetes.io/docs/reference/config-api/apiserver-admission.v1/).

const (
	reviewVersion = "admission.k8s.io/v1"
	reviewKind    = "AdmissionReview"
	// maxUID bounds what is echoed. Kubernetes' own are 36 characters.
	maxUID = 256
	// maxMessage and maxWarning bound what goes to the user; the API server cuts warnings over 256 characters.
	maxMessage, maxWarning, maxWarnings = 12 << 10, 250, 8
)

type admissionReview struct {
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"`
	Request    *admissionRequest  `json:"request,omitempty"`
	Response   *admissionResponse `json:"response,omitempty"`
}

type admissionRequest struct {
	UID  string `json:"uid"`
	Kind struct {
		Group   string `json:"group"`
		Version string `json:"version"`
		Kind    string `json:"kind"`
	} `json:"kind"`
	SubResource string `json:"subResource"`
	Name        string `json:"name"`
	Namespace   string `json:"namespace"`
	Operation   string `json:"operation"`
	UserInfo    struct {
		Username string `json:"username"`
	} `json:"userInfo"`
	Object json.RawMessage `json:"object"`
}

type admissionResponse struct {
	UID     string  `json:"uid"`
	Allowed bool    `json:"allowed"`
	Status  *status `json:"status,omitempty"`
	// AuditAnnotations go to the API server's audit log under the webhook's name.
	AuditAnnotations map[string]string `json:"auditAnnotations,omitempty"`
	Warnings         []string          `json:"warnings,omitempty"`
}

// status is metav1.Status as far as it is shown to users.
type status struct {
	Code    int32  `json:"code"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message"`
}

// outcome of a review. The set is closed: metrics use it as a label.
type outcome string

const (
	outAllowed outcome = "allowed"
	outRefused outcome = "refused"
	outOpen    outcome = "open"    // let pass because the gate fails open
	outIgnored outcome = "ignored" // nothing to judge
	outBad     outcome = "bad"     // no review, or an object that can not be read
)

// errReview is a request that is no AdmissionReview v1; there is no uid to answer to.
var errReview = errors.New("not an AdmissionReview of " + reviewVersion)

// reviewed is the answer, and what log and metrics say of it.
type reviewed struct {
	*admissionResponse
	request *admissionRequest
	outcome outcome
	verdict *Verdict // nil if nothing was judged
}

// review answers one AdmissionReview.
func (g *Gate) review(ctx context.Context, body []byte) (reviewed, error) {
	var in admissionReview
	if err := json.Unmarshal(body, &in); err != nil {
		return reviewed{}, fmt.Errorf("%w: %s", errReview, shorten(err.Error()))
	}
	switch {
	case in.APIVersion != reviewVersion || in.Kind != reviewKind:
		return reviewed{}, fmt.Errorf("%w: it is %s of %s", errReview, shorten(in.Kind), shorten(in.APIVersion))
	case in.Request == nil || in.Request.UID == "" || len(in.Request.UID) > maxUID:
		return reviewed{}, fmt.Errorf("%w: its request has no uid", errReview)
	}
	out := reviewed{request: in.Request, admissionResponse: &admissionResponse{UID: in.Request.UID, Allowed: true}, outcome: outIgnored}
	// Deletions, connections and subresources such as scale give nobody a new identity.
	if op := in.Request.Operation; op != "CREATE" && op != "UPDATE" || in.Request.SubResource != "" {
		return out, nil
	}
	w, err := g.admitted(in.Request)
	if err != nil {
		out.Allowed, out.outcome = false, outBad
		out.Status = &status{Code: http.StatusBadRequest, Reason: "BadRequest", Message: "Leastwise can not read the object: " + shorten(err.Error())}
		return out, nil
	}
	if w == nil {
		return out, nil
	}
	out.answer(g.Judge(ctx, w))
	return out, nil
}

// admitted finds the workload in a request; nil if the object makes none, or is on its way out.
func (g *Gate) admitted(req *admissionRequest) (*Workload, error) {
	nodes, err := jsonDocuments("object", req.Object)
	if err != nil {
		return nil, err
	}
	if len(nodes) != 1 || nodes[0].Kind != yaml.MappingNode {
		return nil, errors.New("the object is missing")
	}
	var whole object
	if err := nodes[0].Decode(&whole); err != nil {
		return nil, yamlError("object", err)
	}
	if whole.Metadata.DeletionTimestamp.Value != "" {
		return nil, nil // its finalizers are being taken off; a refusal would keep it for ever
	}
	r := newReader(&g.cfg, req.Namespace, false)
	// The kind is the request's word; the object's own may be missing.
	if err := r.kubernetes("object", nodes[0], req.Kind.Kind); err != nil {
		return nil, yamlError("object", err)
	}
	workloads := r.finish()
	if len(workloads) == 0 {
		return nil, nil
	}
	w := workloads[0]
	if req.Namespace != "" && w.Namespace != req.Namespace {
		return nil, fmt.Errorf("its namespace is %s, the request's %s", shorten(w.Namespace), shorten(req.Namespace))
	}
	w.Name = or(or(req.Name, w.Name), "(unnamed)")
	return w, nil
}

func (out *reviewed) answer(v *Verdict) {
	out.verdict, out.Allowed, out.outcome = v, v.Allowed, outAllowed
	if v.Open {
		out.outcome = outOpen
	}
	for _, w := range v.Warnings {
		if len(out.Warnings) < maxWarnings {
			out.Warnings = append(out.Warnings, cut("leastwise: "+w, maxWarning))
		}
	}
	out.AuditAnnotations = map[string]string{"decision": string(out.outcome)}
	if v.Owner != "" {
		out.AuditAnnotations["owner"] = v.Owner
	}
	if v.System != "" {
		out.AuditAnnotations["system"] = v.System
	}
	if ids := distinct(v.Identities, func(s Standing) string { return s.Exception }); len(ids) > 0 {
		out.AuditAnnotations["exceptions"] = strings.Join(ids, ",")
	}
	if v.Allowed {
		return
	}
	out.outcome = outRefused
	out.AuditAnnotations["decision"] = string(outRefused)
	out.Status = &status{Code: http.StatusForbidden, Reason: "Forbidden", Message: cut(v.message(), maxMessage)}
}

// message is the refusal as kubectl shows it.
func (v *Verdict) message() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s does not map to exactly one owner and one system of record:", v.Workload)
	for _, p := range v.Problems {
		fmt.Fprintf(&b, "\n- %s", p.Text)
		if p.Do != "" {
			fmt.Fprintf(&b, ": %s", p.Do)
		}
	}
	if v.Add != "" {
		fmt.Fprintf(&b, "\nIn the catalog:\n%s", indent(v.Add, "  "))
	}
	return b.String()
}

func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	at := most - len("…")
	for !utf8.RuneStart(text[at]) {
		at--
	}
	return text[:at] + "…"
}
