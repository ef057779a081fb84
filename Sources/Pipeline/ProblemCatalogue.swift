// Every refusal that a client can receive, in one place.
//
// Codes are a contract: they are never renamed and never reused. Details name no upstream, address or internal state.
// The entries are computed so that their use compiles to constants: a stored `static let` would cost a once-check each.

/// All kinds of refusal, with stable codes.
public enum ProblemCatalogue {
  // MARK: The message

  /// The bytes are not a request.
  public static var malformedRequest: Problem {
    Problem(400, "malformed-request", "Malformed request", "The request does not conform to HTTP.")
  }
  /// The path cannot be judged safely.
  public static var malformedPath: Problem {
    Problem(
      400, "malformed-path", "Malformed path", "The path holds dot segments or encoded characters that are not allowed."
    )
  }
  /// No complete request came in time.
  public static var requestTimeout: Problem {
    Problem(408, "request-timeout", "Request timeout", "The request did not arrive completely in time.")
  }
  /// The body is larger than the route allows.
  public static var bodyTooLarge: Problem {
    Problem(413, "body-too-large", "Body too large", "The request body is larger than this route accepts.")
  }
  /// The request line is too long.
  public static var targetTooLong: Problem {
    Problem(414, "target-too-long", "Request target too long", "The request line is longer than the gateway accepts.")
  }
  /// An expectation other than 100-continue.
  public static var expectationFailed: Problem {
    Problem(417, "expectation-failed", "Expectation failed", "Only the expectation 100-continue is known.")
  }
  /// The header section is too large.
  public static var headTooLarge: Problem {
    Problem(431, "head-too-large", "Header fields too large", "The header fields are too many or too large.")
  }
  /// A transfer coding or method that is not implemented.
  public static var notImplemented: Problem {
    Problem(501, "not-implemented", "Not implemented", "The request uses a feature that the gateway does not offer.")
  }
  /// A version of HTTP that is not spoken here.
  public static var versionNotSupported: Problem {
    Problem(505, "version-not-supported", "HTTP version not supported", "Send the request as HTTP/1.1 or HTTP/1.0.")
  }

  // MARK: The route

  /// No route matches.
  public static var noRoute: Problem {
    Problem(404, "no-route", "Not found", "No route matches this host and path.")
  }
  /// Routes match, but for other methods.
  public static var methodNotAllowed: Problem {
    Problem(405, "method-not-allowed", "Method not allowed", "The field Allow names the methods of this resource.")
  }

  // MARK: Identity

  /// No key where one is needed.
  public static var keyMissing: Problem {
    Problem(401, "api-key-missing", "API key missing", "This route needs an API key, and the request carries none.")
  }
  /// A key that nobody holds.
  public static var keyInvalid: Problem {
    Problem(401, "api-key-invalid", "API key not valid", "The API key is not known, not yet valid or no longer valid.")
  }
  /// A key in more than one place or more than once.
  public static var keyAmbiguous: Problem {
    Problem(400, "api-key-ambiguous", "More than one API key", "Send exactly one API key, in one place.")
  }
  /// A known consumer who may not use this route.
  public static var consumerNotAllowed: Problem {
    Problem(403, "consumer-not-allowed", "Consumer not allowed", "The consumer of this key may not use this route.")
  }

  // MARK: Admission

  /// The address may not come in.
  public static var addressDenied: Problem {
    Problem(403, "address-denied", "Address not allowed", "Requests from this address are not accepted here.")
  }
  /// A preflight for an origin, method or field that is not allowed.
  public static var originDenied: Problem {
    Problem(403, "origin-denied", "Origin not allowed", "Cross-origin requests from this origin are not accepted here.")
  }
  /// A rate or quota is used up.
  public static var rateLimited: Problem {
    Problem(
      429, "rate-limited", "Rate limit exceeded",
      "A limit that applies to this request is used up. The field RateLimit names it; Retry-After says when to come back."
    )
  }
  /// Too many requests at the same time.
  public static var concurrencyLimited: Problem {
    Problem(
      429, "concurrency-limited", "Too many concurrent requests",
      "As many requests as allowed are running. Wait until one has ended.")
  }
  /// A limit cannot be checked and is set to refuse then.
  public static var quotaUnavailable: Problem {
    Problem(
      503, "quota-unavailable", "Quota unavailable",
      "A limit cannot be checked at the moment. Come back after Retry-After.")
  }
  /// The node has no room left.
  public static var overloaded: Problem {
    Problem(503, "overloaded", "Overloaded", "The gateway has no capacity for this request at the moment.")
  }

  // MARK: Upstream

  /// The upstream could not be reached, broke off, or sent what is not HTTP.
  public static var badGateway: Problem {
    Problem(502, "upstream-failed", "Upstream failed", "The service behind the gateway did not answer properly.")
  }
  /// No endpoint is fit to serve.
  public static var noUpstream: Problem {
    Problem(
      503, "upstream-unavailable", "Upstream unavailable", "No instance of the service is available at the moment.")
  }
  /// More requests wait for the upstream than allowed.
  public static var upstreamBusy: Problem {
    Problem(503, "upstream-busy", "Upstream busy", "As many requests as allowed are waiting for the service.")
  }
  /// No answer in time.
  public static var gatewayTimeout: Problem {
    Problem(504, "upstream-timeout", "Upstream timeout", "The service behind the gateway did not answer in time.")
  }

  /// Every entry, by status and code.
  public static var all: [Problem] {
    [
      keyAmbiguous, malformedPath, malformedRequest, keyInvalid, keyMissing, addressDenied, consumerNotAllowed,
      originDenied, noRoute, methodNotAllowed, requestTimeout, bodyTooLarge, targetTooLong, expectationFailed,
      concurrencyLimited, rateLimited, headTooLarge, notImplemented, badGateway, overloaded,
      quotaUnavailable, upstreamBusy, noUpstream, gatewayTimeout, versionNotSupported,
    ]
  }

  /// The catalogue as a table in Markdown, for the README.
  public static var markdown: String {
    var text = "| status | code | meaning |\n|---|---|---|\n"
    for problem in all { text += "| \(problem.status) | `\(problem.code)` | \(problem.detail) |\n" }
    return text
  }
}
