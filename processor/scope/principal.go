package scope

import "strings"

// canonical gives a principal one name, however a source writes it. AWS: names of roles and users are unique in an
// account whatever their path, and the ARN of a session names its role without it. GCP: members carry their type, the
// audit log's e-mail addresses do not.
func canonical(system, principal string) string {
	switch system {
	case aws:
		return canonicalARN(principal)
	case google:
		kind, address, ok := strings.Cut(principal, ":")
		if ok && (kind == "serviceAccount" || kind == "user") {
			principal = address
		}
		if strings.Contains(principal, "@") && !strings.Contains(principal, "/") {
			principal = strings.ToLower(principal)
		}
	}
	return principal
}

// canonicalARN: arn:aws:iam::ACCOUNT:role/PATH/NAME and arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION are
// arn:aws:iam::ACCOUNT:role/NAME; users likewise.
func canonicalARN(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" {
		return arn
	}
	path := strings.Split(parts[5], "/")
	switch kind := path[0]; {
	case parts[2] == "sts" && kind == "assumed-role" && len(path) > 1:
		parts[2], parts[5] = "iam", "role/"+path[1]
	case parts[2] == "iam" && (kind == "role" || kind == "user") && len(path) > 2:
		parts[5] = kind + "/" + path[len(path)-1]
	default:
		return arn
	}
	return strings.Join(parts, ":")
}

// isRoot tells the root user of an AWS account, which no policy of the account binds.
func isRoot(arn string) bool {
	return strings.HasPrefix(arn, "arn:") && strings.Contains(arn, ":iam::") && strings.HasSuffix(arn, ":root")
}
