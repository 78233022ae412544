package view

import "strings"

// guards says in plain words what holds a revocation back. An enforcer's reason follows where it tells more.
var guards = map[string]string{
	"ready":       "Leastwise is still reading what happened",
	"mode":        "Leastwise does not revoke now",
	"kill_switch": "everything is stopped by the kill switch",
	"exception":   "an exception covers it",
	"protected":   "it is on the list of what is never revoked",
	"freshness":   "it was not looked at again lately",
	"told":        "its owner could not be told",
	"grace":       "its owner still has time",
	"budget":      "as much as may be revoked within the hour was revoked",
	"approval":    "somebody has to approve it",
	"target":      "the issuer can not be asked now",
	"window":      "it is not a time at which may be revoked",
	"collateral":  "it would hit others too",
	"restore":     "it could not be given back",
	"rollback":    "the former scope could not be put back",
}

// Guard says in words that a guard refuses, and why.
func Guard(name, reason string) string {
	words, ok := guards[name]
	if !ok {
		return strings.TrimSpace(strings.ReplaceAll(name, "_", " ") + ": " + reason)
	}
	switch {
	case name == "kill_switch":
		by, _ := strings.CutPrefix(reason, "switched on by ")
		return words + " (" + by + " switched it on)"
	case name == "told" || name == "restore" && reason == "":
		return words
	case name == "approval":
		if before, _, found := strings.Cut(reason, " approved"); found && strings.Contains(reason, "one more person") {
			return before + " approved it, and one more person has to"
		}
		if strings.Contains(reason, "two people") {
			return "two people have to approve it"
		}
		return words
	case reason == "":
		return words
	}
	return words + " (" + reason + ")"
}

// waiting turns what an enforcer's journal says of its guards into words: "budget: 20 of 20 this hour; told: …".
func waiting(text string) string {
	if text == "" || text == "rollback intended" {
		return strings.ReplaceAll(text, "rollback intended", "the former scope is being put back")
	}
	var said []string
	rest := text
	for rest != "" {
		name, after, found := strings.Cut(rest, ": ")
		if _, known := guards[name]; !found || !known {
			said = append(said, rest)
			break
		}
		// The next guard begins after a semicolon; a reason may hold others.
		end, next := len(after), ""
		for at := 0; ; {
			i := strings.Index(after[at:], "; ")
			if i < 0 {
				break
			}
			at += i + 2
			if n, _, ok := strings.Cut(after[at:], ": "); ok && guards[n] != "" {
				end, next = at-2, after[at:]
				break
			}
		}
		said = append(said, Guard(name, after[:end]))
		rest = next
	}
	return strings.Join(said, "; ")
}
