import Core

/// Field names that some room asks for by identity; the rest are ``other`` and are found by their bytes.
///
/// The raw value is below 64, so that the names of a head fit a mask.
public enum FieldName: UInt8, BitwiseCopyable, CaseIterable, Sendable {
  /// Any name not listed here.
  case other
  case host, connection, contentLength, transferEncoding, te, trailer, upgrade, expect, keepAlive, proxyConnection
  case proxyAuthorization, proxyAuthenticate, http2Settings
  case authorization, cookie, setCookie, origin, xApiKey, idempotencyKey, wwwAuthenticate
  case accept, acceptVersion, acceptEncoding, acceptLanguage, contentType, contentEncoding, contentRange, range
  case forwarded, xForwardedFor, xForwardedProto, xForwardedHost, xForwardedPort, xRealIp, via
  case xRequestId, traceparent, tracestate
  case userAgent, referer, retryAfter, server, date, cacheControl, vary, location, etag, ifNoneMatch, lastModified
  case allow, age
  case rateLimit, rateLimitPolicy
  case accessControlRequestMethod, accessControlRequestHeaders
  case accessControlAllowOrigin, accessControlAllowMethods, accessControlAllowHeaders, accessControlAllowCredentials
  case accessControlExposeHeaders, accessControlMaxAge
  case secWebSocketKey, secWebSocketAccept

  /// The name with this spelling in any case, or ``other``. Constant cost; no allocation.
  public static func of(_ name: RawSpan) -> FieldName { FieldNameTable.shared.find(name) }

  /// The usual spelling; empty for ``other``.
  public var canonical: StaticString {
    switch self {
    case .other: ""
    case .host: "Host"
    case .connection: "Connection"
    case .contentLength: "Content-Length"
    case .transferEncoding: "Transfer-Encoding"
    case .te: "TE"
    case .trailer: "Trailer"
    case .upgrade: "Upgrade"
    case .expect: "Expect"
    case .keepAlive: "Keep-Alive"
    case .proxyConnection: "Proxy-Connection"
    case .proxyAuthorization: "Proxy-Authorization"
    case .proxyAuthenticate: "Proxy-Authenticate"
    case .http2Settings: "HTTP2-Settings"
    case .authorization: "Authorization"
    case .cookie: "Cookie"
    case .setCookie: "Set-Cookie"
    case .origin: "Origin"
    case .xApiKey: "X-API-Key"
    case .idempotencyKey: "Idempotency-Key"
    case .wwwAuthenticate: "WWW-Authenticate"
    default: laterCanonical
    }
  }

  private var laterCanonical: StaticString {
    switch self {
    case .accept: "Accept"
    case .acceptVersion: "Accept-Version"
    case .acceptEncoding: "Accept-Encoding"
    case .acceptLanguage: "Accept-Language"
    case .contentType: "Content-Type"
    case .contentEncoding: "Content-Encoding"
    case .contentRange: "Content-Range"
    case .range: "Range"
    case .forwarded: "Forwarded"
    case .xForwardedFor: "X-Forwarded-For"
    case .xForwardedProto: "X-Forwarded-Proto"
    case .xForwardedHost: "X-Forwarded-Host"
    case .xForwardedPort: "X-Forwarded-Port"
    case .xRealIp: "X-Real-IP"
    case .via: "Via"
    case .xRequestId: "X-Request-Id"
    case .traceparent: "traceparent"
    case .tracestate: "tracestate"
    case .userAgent: "User-Agent"
    case .referer: "Referer"
    case .retryAfter: "Retry-After"
    case .server: "Server"
    case .date: "Date"
    case .cacheControl: "Cache-Control"
    case .vary: "Vary"
    case .location: "Location"
    case .etag: "ETag"
    default: lastCanonical
    }
  }

  private var lastCanonical: StaticString {
    switch self {
    case .ifNoneMatch: "If-None-Match"
    case .lastModified: "Last-Modified"
    case .allow: "Allow"
    case .age: "Age"
    case .rateLimit: "RateLimit"
    case .rateLimitPolicy: "RateLimit-Policy"
    case .accessControlRequestMethod: "Access-Control-Request-Method"
    case .accessControlRequestHeaders: "Access-Control-Request-Headers"
    case .accessControlAllowOrigin: "Access-Control-Allow-Origin"
    case .accessControlAllowMethods: "Access-Control-Allow-Methods"
    case .accessControlAllowHeaders: "Access-Control-Allow-Headers"
    case .accessControlAllowCredentials: "Access-Control-Allow-Credentials"
    case .accessControlExposeHeaders: "Access-Control-Expose-Headers"
    case .accessControlMaxAge: "Access-Control-Max-Age"
    case .secWebSocketKey: "Sec-WebSocket-Key"
    case .secWebSocketAccept: "Sec-WebSocket-Accept"
    default: ""
    }
  }
}

/// Some field names.
public struct FieldNameSet: OptionSet, BitwiseCopyable, Sendable {
  /// A bit for each name, at its raw value.
  public let rawValue: UInt64

  /// The names whose bits are set.
  @inlinable
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// Just `name`.
  @inlinable
  @inline(__always)
  public init(_ name: FieldName) { rawValue = 1 &<< UInt64(name.rawValue) }

  /// The names of both.
  @inlinable
  @inline(__always)
  public static func | (left: FieldNameSet, right: FieldNameSet) -> FieldNameSet {
    FieldNameSet(rawValue: left.rawValue | right.rawValue)
  }
}
