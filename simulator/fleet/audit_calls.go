package fleet

import (
	"strconv"
	"time"
)

// exchange is one call as the log shows it on two lines.
type exchange struct {
	at        time.Time
	caller    *lineToken // nil: a login
	how       outcome
	mount     mount
	operation string
	data      func(b []byte) []byte // the request's data object; nil: none
	path      func(b []byte) []byte
	// authAnswered is the auth of the response line; nil: the caller's.
	authAnswered func(b []byte) []byte
	// answer is the response's own part before its mount, with a trailing comma; nil: none.
	answer func(b []byte) []byte
	// bare says that the response line has no response at all, as that of a revocation.
	bare bool
	// lateMount: the request line of a read does not know the mount's accessor yet.
	lateMount bool
}

const userAgent = `"headers":{"user-agent":["Vault Agent/1.19.0 (+https://www.vaultproject.io/; go1.23.6)"],"x-correlation-id":["`

func (l *lineWriter) write(x exchange) {
	l.auth = append(l.auth[:0], `{"auth":`...)
	if x.caller != nil {
		l.auth = l.appendAuth(l.auth, x.caller, x.how)
	} else {
		l.auth = append(l.auth, `{"policy_results":{"allowed":true},"token_type":"default"}`...)
	}
	l.auth = append(l.auth, ',')
	if x.how == refused {
		l.auth = append(l.auth, deniedError...)
	}
	l.auth = append(l.auth, `"request":{`...)
	head := len(l.auth)
	l.auth = l.appendRequestHead(l.auth, x)
	l.req = l.appendRequestTail(l.req[:0], x)

	l.last = len(l.buf)
	l.buf = append(l.buf, l.auth...)
	if !x.lateMount {
		l.buf = appendMountAccessor(l.buf, x.mount)
	}
	l.buf = append(l.buf, l.req...)
	l.buf = append(l.buf, `},"time":"`...)
	l.buf = x.at.AppendFormat(l.buf, time.RFC3339Nano)
	l.buf = append(l.buf, `","type":"request"}`+"\n"...)

	l.last = len(l.buf)
	if x.authAnswered != nil {
		l.buf = append(l.buf, `{"auth":`...)
		l.buf = x.authAnswered(l.buf)
		l.buf = append(l.buf, `,"request":{`...)
		l.buf = append(l.buf, l.auth[head:]...)
	} else {
		l.buf = append(l.buf, l.auth...)
	}
	if x.how != refused {
		l.buf = appendMountAccessor(l.buf, x.mount)
	}
	l.buf = append(l.buf, l.req...)
	l.buf = append(l.buf, '}')
	if !x.bare {
		l.buf = l.appendResponse(l.buf, x)
	}
	l.buf = append(l.buf, `,"time":"`...)
	l.buf = x.at.Add(answerAfter).AppendFormat(l.buf, time.RFC3339Nano)
	l.buf = append(l.buf, `","type":"response"}`+"\n"...)
	l.lines += 2
}

func (l *lineWriter) appendRequestHead(b []byte, x exchange) []byte {
	if x.caller != nil {
		b = append(b, `"client_id":"`...)
		b = appendUUID(b, x.caller.entity)
		b = append(b, `","client_token":`...)
		b = appendHash(b, x.caller.sent)
		b = append(b, `,"client_token_accessor":`...)
		b = appendHash(b, x.caller.accessor)
		b = append(b, ',')
	}
	if x.data != nil {
		b = append(b, `"data":`...)
		b = x.data(b)
		b = append(b, ',')
	}
	id := l.hash()
	b = append(b, userAgent...)
	b = appendUUID(b, [16]byte(id[16:]))
	b = append(b, `"]},"id":"`...)
	b = appendUUID(b, [16]byte(id[:16]))
	return append(b, `",`...)
}

func appendMountAccessor(b []byte, m mount) []byte {
	b = append(b, `"mount_accessor":"`...)
	b = append(b, m.accessor...)
	return append(b, `",`...)
}

func (l *lineWriter) appendRequestTail(b []byte, x exchange) []byte {
	b = append(b, `"mount_class":"`...)
	b = append(b, x.mount.class...)
	b = append(b, `","mount_point":"`...)
	b = append(b, x.mount.point...)
	b = append(b, `","mount_running_version":"`...)
	b = append(b, x.mount.version...)
	b = append(b, `","mount_type":"`...)
	b = append(b, x.mount.kind...)
	b = append(b, `","namespace":{"id":"root"},"operation":"`...)
	b = append(b, x.operation...)
	b = append(b, `","path":"`...)
	b = x.path(b)
	b = append(b, `","remote_address":"10.`...)
	where := l.rand.Uint32()
	b = strconv.AppendUint(b, uint64(where>>24), 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(where>>16&255), 10)
	b = append(b, ".7\",\"remote_port\":"...)
	return strconv.AppendUint(b, uint64(32768+where&0x3fff), 10)
}

func (l *lineWriter) appendResponse(b []byte, x exchange) []byte {
	b = append(b, `,"response":{`...)
	if x.answer != nil {
		b = x.answer(b)
	}
	if x.how != refused {
		b = appendMountAccessor(b, x.mount)
	}
	b = append(b, `"mount_class":"`...)
	b = append(b, x.mount.class...)
	b = append(b, `","mount_point":"`...)
	b = append(b, x.mount.point...)
	b = append(b, `","mount_running_plugin_version":"`...)
	b = append(b, x.mount.version...)
	b = append(b, `","mount_type":"`...)
	b = append(b, x.mount.kind...)
	return append(b, `"}`...)
}

func fixed(path string) func([]byte) []byte {
	return func(b []byte) []byte { return append(b, path...) }
}

func (l *lineWriter) login(at time.Time, t *lineToken) {
	l.write(exchange{
		at: at, mount: kubernetesMount, operation: "update", path: fixed("auth/kubernetes/login"),
		data: func(b []byte) []byte {
			b = append(b, `{"jwt":`...)
			b = appendHash(b, l.hash())
			b = append(b, `,"role":`...)
			b = appendHash(b, l.hash())
			return append(b, '}')
		},
		authAnswered: func(b []byte) []byte { return l.appendAuth(b, t, fresh) },
		answer: func(b []byte) []byte {
			b = append(b, `"auth":`...)
			b = l.appendAuth(b, t, fresh)
			return append(b, ',')
		},
	})
}

func (l *lineWriter) create(at time.Time, by, t *lineToken) {
	l.write(exchange{
		at: at, caller: by, mount: tokenMount, operation: "update", path: fixed("auth/token/create"),
		data: func(b []byte) []byte {
			b = append(b, `{"policies":[`...)
			b = appendHash(b, l.hash())
			b = append(b, `],"ttl":`...)
			b = appendHash(b, l.hash())
			return append(b, '}')
		},
		answer: func(b []byte) []byte {
			b = append(b, `"auth":`...)
			b = l.appendAuth(b, t, fresh)
			return append(b, ',')
		},
	})
}

func (l *lineWriter) renew(at time.Time, t *lineToken) {
	l.write(exchange{
		at: at, caller: t, mount: tokenMount, operation: "update", path: fixed("auth/token/renew-self"),
		data: func(b []byte) []byte {
			b = append(b, `{"increment":`...)
			b = appendHash(b, l.hash())
			return append(b, '}')
		},
		answer: func(b []byte) []byte {
			b = append(b, `"auth":`...)
			// The renewed token's own auth, without a decision but with its issue time.
			b = l.appendAuth(b, t, fresh)
			b = append(b[:len(b)-1], `,"token_issue_time":"`...)
			b = t.issuedAt.Truncate(time.Second).AppendFormat(b, time.RFC3339)
			return append(b, `"},`...)
		},
	})
}

func (l *lineWriter) revoke(at time.Time, t *lineToken) {
	l.write(exchange{at: at, caller: t, mount: tokenMount, operation: "update", path: fixed("auth/token/revoke-self"), bare: true})
}

func (l *lineWriter) item(t *lineToken, kind string, item int) func([]byte) []byte {
	return func(b []byte) []byte {
		b = append(b, "secret/data/"...)
		b = append(b, l.roles[t.role].tree...)
		b = append(b, kind...)
		return strconv.AppendInt(b, int64(item), 10)
	}
}

// deleted is deletion_time: the hash of "", the same everywhere.
const deleted = `"deletion_time":"hmac-sha256:7a99d90af5b73b0bf04f6ce7a47f645faa2021cd2fc96670ff0e0aa5bee5585c","destroyed":false,"version":`

func (l *lineWriter) read(at time.Time, t *lineToken, item int) {
	l.write(exchange{
		at: at, caller: t, mount: kvMount, operation: "read", path: l.item(t, "/inputs/item-", item), lateMount: true,
		answer: func(b []byte) []byte {
			b = append(b, `"data":{"data":{"endpoint":`...)
			b = appendHash(b, l.hash())
			b = append(b, `,"password":`...)
			b = appendHash(b, l.hash())
			b = append(b, `,"username":`...)
			b = appendHash(b, l.hash())
			b = append(b, `},"metadata":{"created_time":`...)
			b = appendHash(b, l.hash())
			b = append(b, `,"custom_metadata":null,`+deleted...)
			b = strconv.AppendInt(b, int64(1+item%7), 10)
			return append(b, `}},`...)
		},
	})
}

func (l *lineWriter) update(at time.Time, t *lineToken, item int) {
	l.write(exchange{
		at: at, caller: t, mount: kvMount, operation: "update", path: l.item(t, "/outputs/item-", item),
		data: func(b []byte) []byte {
			b = append(b, `{"data":{"checksum":`...)
			b = appendHash(b, l.hash())
			b = append(b, `,"content":`...)
			b = appendHash(b, l.hash())
			return append(b, `},"options":{}}`...)
		},
		answer: func(b []byte) []byte {
			b = append(b, `"data":{"created_time":`...)
			b = appendHash(b, l.hash())
			b = append(b, `,"custom_metadata":null,`+deleted...)
			b = strconv.AppendInt(b, int64(1+item), 10)
			return append(b, `},`...)
		},
	})
}

func (l *lineWriter) list(at time.Time, t *lineToken) {
	l.write(exchange{
		at: at, caller: t, mount: kvMount, operation: "list", lateMount: true,
		path: func(b []byte) []byte {
			b = append(b, "secret/metadata/"...)
			b = append(b, l.roles[t.role].tree...)
			return append(b, "/inputs/"...)
		},
		answer: func(b []byte) []byte {
			b = append(b, `"data":{"keys":[`...)
			for i := range 6 {
				if i > 0 {
					b = append(b, ',')
				}
				b = appendHash(b, l.hash())
			}
			return append(b, `]},`...)
		},
	})
}

func (l *lineWriter) refused(at time.Time, t *lineToken, path int) {
	x := exchange{
		at: at, caller: t, how: refused, mount: kvMount, operation: "read", lateMount: true,
		path: func(b []byte) []byte {
			b = append(b, "secret/data/team-finance/ledger-"...)
			return strconv.AppendInt(b, int64(path), 10)
		},
		answer: func(b []byte) []byte {
			b = append(b, `"data":{"error":`...)
			b = appendHash(b, l.hash())
			return append(b, `},`...)
		},
	}
	if path%3 == 0 {
		x.mount = systemMount
		x.path = func(b []byte) []byte {
			b = append(b, "sys/policies/acl/admin-"...)
			return strconv.AppendInt(b, int64(path), 10)
		}
	}
	l.write(x)
}
