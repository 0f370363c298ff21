package cause

import (
	"slices"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// ofSomeMethods are the rows that a request meets by its method: those of bodies, of
// upgrades, and of what can't be sent.
var ofSomeMethods = []*Row{RequestWriteTimeout, RequestWriteFailed, RequestNotSendable, ClientUploadFailed, RetriedWithoutBody, UploadCutByEarlyResponse, UpgradeFailed}

// ofAnyConnection are the rows whose rules don't ask whether the connection had been used
// before. Others are found only on a reused one, as KeepaliveRace, or else on a fresh one, as
// ClosedBeforeResponse, or before there is any.
var ofAnyConnection = []*Row{
	ResponseTimeout, ReadTimeout, StreamReset, ResponseHeadersTooLarge, TransferCodingInvalid,
	ResponseTruncated, ResponseStalled, ContentCodingInvalid, UpstreamStatus,
}

// Compares says whether it tells anything that the failures of a cause have something in
// common. It doesn't where they have it by definition.
func Compares(name string, kind failure.ChangeKind) bool {
	named := func(r *Row) bool { return r.Name == name }
	switch kind {
	case failure.ChangeMethod:
		return !slices.ContainsFunc(ofSomeMethods, named)
	case failure.ChangeProtocol:
		return !named(UpgradeFailed)
	case failure.ChangeConnection:
		return slices.ContainsFunc(ofAnyConnection, named)
	}
	return true
}

// AddressOf is the address that an attempt's connection leads to, or that was dialled last.
func AddressOf(a *listen.Attempt) string { return addressOf(a) }
