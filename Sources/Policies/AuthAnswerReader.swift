import Core
import HTTP
import Pipeline

/// Reads what a service has said of a request.
struct AuthAnswerReader: Sendable {
  /// What an answer comes to.
  enum Finding {
    case answer(ServiceAnswer)
    /// The service has not answered, or has failed itself.
    case none
    /// It has said something that is neither yes nor no.
    case unusable
  }

  /// The fields that the service alone may give the upstream.
  let upstreamFields: [FieldSelector]

  private let clientFields: [FieldSelector]
  private let passesRedirects: Bool
  private let passesBody: Bool

  /// The most bytes of a body that clients get; of what is longer the gateway's own document takes the place.
  private static let longestBody = 65_536
  /// The most bytes of a body that is remembered.
  private static let longestKeptBody = 4_096
  /// Fields that say how the gateway itself has come to its answer, or how long that is.
  private static let ownNames: Set = [
    "cache-control", "content-length", "content-type", "content-encoding", "date", "server", "location",
    "www-authenticate", "sluice-degraded", "x-request-id",
  ]

  init(_ options: inout OptionReader) {
    upstreamFields = options.valueList(
      "upstreamHeaders", FieldSelector.format,
      "Fields of the service's answer that the upstream gets. Those of others are dropped from every request, whether or not the "
        + "answer has them."
    ) { FieldSelector($0) }
    clientFields = options.valueList(
      "clientHeaders", FieldSelector.format,
      "Fields of the service's answer that the client gets, whether it passes or not, such as Set-Cookie."
    ) { FieldSelector($0) }
    passesRedirects = options.bool(
      "redirects", default: false,
      "Whether the client is sent where the service's answer sends it, to log in for example.")
    passesBody = options.bool(
      "passBody", default: false,
      "Whether a refusal has the service's body and Content-Type, up to 64 KiB, in place of a problem document.")
    for (index, field) in upstreamFields.enumerated() where Self.isGatewaysOwn(field) {
      options.fail(
        "\"\(field.name)\" is not the service's to say", at: "upstreamHeaders", element: index, fix: "remove it")
    }
    for (index, field) in clientFields.enumerated() where field.framesMessages || Self.ownNames.contains(field.name) {
      options.fail(
        "\"\(field.name)\" is the gateway's own to send", at: "clientHeaders", element: index,
        fix: "remove it; Location and WWW-Authenticate of refusals are passed on anyhow")
    }
  }

  private static func isGatewaysOwn(_ field: FieldSelector) -> Bool {
    switch field.known {
    // Cookies are the client's: a policy that has taken its own out of them passes the others on by itself.
    case .xForwardedFor, .xForwardedProto, .xForwardedHost, .xForwardedPort, .forwarded, .via, .xRequestId,
      .traceparent, .tracestate, .cookie:
      true
    default: field.framesMessages
    }
  }

  /// Reads an answer; `lifetimes` says for how long it may be used again.
  func read(_ outcome: FetchOutcome?, _ lifetimes: AuthCache.Lifetimes, _ now: Instant) -> Finding {
    // What is too long, or no HTTP, may have become so by what the client has sent.
    if outcome == .tooLong || outcome == .malformed { return .unusable }
    // Nobody was asked, since others ask too much: whoever could bring that about would pass.
    if outcome == .crowded || outcome == .overdue { return .unusable }
    guard case .answered(let status, let fields, let body)? = outcome else { return .none }
    let answer = Answer(status: status, fields: fields, body: body, lifetimes: lifetimes, now: now)
    switch status {
    case 200...299: return allowed(answer)
    case 401, 403: return refused(answer)
    case 301, 302, 303, 307, 308: return passesRedirects ? redirected(answer) : .unusable
    case 500...: return .none
    default: return .unusable
    }
  }

  private struct Answer {
    let status: UInt16
    let fields: [FetchField]
    let body: [UInt8]
    let lifetimes: AuthCache.Lifetimes
    let now: Instant

    /// Whether it is for one client alone: it has a cookie, or the service says that it must not be kept (RFC 9111 section
    /// 5.2.2).
    var isPersonal: Bool { fields.contains { $0.name == "set-cookie" } || IssuerDocument.maxAge(fields) == 0 }

    /// The moment from which on it is used no more: after so many nanoseconds unless the service says less.
    func asksAgainAt(_ lifetime: Int64) -> Instant {
      if isPersonal { return now }
      let said = IssuerDocument.maxAge(fields).map { min($0, lifetime / 1_000_000_000 + 1) * 1_000_000_000 }
      return now.advanced(byNanoseconds: min(lifetime, said ?? lifetime))
    }

    /// The lines of some of its fields; nil where one of them cannot be passed on as it is.
    func lines(of wanted: [FieldSelector]) -> [UInt8]? {
      var lines: [UInt8] = []
      for field in fields {
        guard let selector = wanted.first(where: { $0.name == field.name }) else { continue }
        // Bytes that are no UTF-8 have become U+FFFD by now, in which two names may be one.
        let isWhole = field.value.unicodeScalars.allSatisfy { $0.value >= 32 && $0.value != 127 && $0 != "\u{fffd}" }
        guard isWhole else { return nil }
        lines += selector.text + Array(": \(field.value)\r\n".utf8)
      }
      return lines
    }

    /// The lines of one of its fields; nil as above.
    func lines(of name: String) -> [UInt8]? { FieldSelector(name).flatMap { lines(of: [$0]) } }
  }

  private func allowed(_ answer: Answer) -> Finding {
    guard let upstream = answer.lines(of: upstreamFields), let client = answer.lines(of: clientFields)
    else { return .unusable }
    return .answer(
      ServiceAnswer(
        .allowed, upstreamFields: upstream, clientFields: client, isPersonal: answer.isPersonal,
        asksAgainAt: answer.asksAgainAt(answer.lifetimes.allowed)))
  }

  private func refused(_ answer: Answer) -> Finding {
    guard var client = answer.lines(of: clientFields), let challenges = answer.lines(of: "WWW-Authenticate") else {
      return .unusable
    }
    client += challenges
    var kind = ServiceAnswer.Kind.refused(answer.status == 401 ? .authenticationRequired : .accessDenied)
    var lifetime = answer.lifetimes.refused
    if passesBody, !answer.body.isEmpty, answer.body.count <= Self.longestBody,
      let type = answer.lines(of: "Content-Type")
    {
      client += type + Array("Cache-Control: no-store\r\n".utf8)
      kind = .answered(status: answer.status, body: answer.body)
      if answer.body.count > Self.longestKeptBody { lifetime = 0 }
    }
    return .answer(
      ServiceAnswer(
        kind, upstreamFields: [], clientFields: client, hasChallenge: !challenges.isEmpty,
        isPersonal: answer.isPersonal, asksAgainAt: answer.asksAgainAt(lifetime)))
  }

  private func redirected(_ answer: Answer) -> Finding {
    let places = answer.fields.filter { $0.name == "location" && !$0.value.isEmpty }
    guard places.count == 1, let place = answer.lines(of: "Location"), let client = answer.lines(of: clientFields)
    else { return .unusable }
    return .answer(
      ServiceAnswer(
        .answered(status: answer.status, body: []), upstreamFields: [],
        clientFields: client + place + Array("Cache-Control: no-store\r\n".utf8),
        isPersonal: answer.isPersonal, asksAgainAt: answer.asksAgainAt(answer.lifetimes.refused)))
  }
}
