import Core
import Crypto
import HTTP
import Pipeline

/// What a service is asked about a request.
struct AuthQuestion: Sendable {
  /// What a question comes to.
  enum Outcome {
    case ready(FetchRequest)
    /// The service cannot be told what the client has sent. It must not be asked about something else instead.
    case refused(Problem)
  }

  /// The client's fields that the service is told.
  let fields: [FieldSelector]
  /// Stands for whom is asked, and how.
  let stamp: Digest

  private let service: AskedService
  private let method: Method

  private enum Verb: String, CaseIterable {
    case get = "GET"
    case head = "HEAD"
    case post = "POST"
  }

  init(_ options: inout OptionReader) {
    service = AskedService(
      &options, key: "url", "Where the service is asked. Its own path and query are sent as they stand here.",
      timeout: .seconds(1))
    let verb = options.choice("method", default: Verb.get, "The method by which it is asked; never with a body.")
    switch verb {
    case .get: method = .get
    case .head: method = .head
    case .post: method = .post
    }
    fields = options.valueList(
      "requestHeaders", FieldSelector.format, default: ["Authorization", "Cookie"],
      "The request's fields that the service gets, as the upstream would: what a policy before keeps from the upstream is kept "
        + "from the service."
    ) { FieldSelector($0) }
    for (index, field) in fields.enumerated() where !Self.isFree(field) {
      options.fail(
        "\"\(field.name)\" is the gateway's own to send", at: "requestHeaders", element: index, fix: "remove it")
    }
    stamp = service.stamp([verb.rawValue, options.instanceName])
  }

  /// Whether a field is anything but the gateway's own.
  private static func isFree(_ field: FieldSelector) -> Bool {
    guard !IdentityFields.contains(RawSpan(field.lowercased)), let url = FetchURL("https://a") else { return false }
    let isSet = ["x-request-id", "x-identity-issuer", "x-identity-subject", "x-identity-client"].contains(field.name)
    return !isSet && FetchRequest(url, fields: [FetchField(field.name, "a")]).message != nil
  }

  /// What is asked about a request.
  func request(
    _ exchange: borrowing Exchange, _ request: RequestHead, _ services: Services
  ) -> Outcome {
    var sent: [FetchField] = []
    for field in fields {
      let values = FieldLines.values(of: field, exchange, request)
      // The service might go by the one and the upstream by the other.
      if field.known == .authorization, values.count > 1 { return .refused(ProblemCatalogue.tokenAmbiguous) }
      for value in values {
        // Two texts that are no UTF-8 would look alike to the service.
        guard let text = String(validating: value, as: UTF8.self) else {
          return .refused(ProblemCatalogue.malformedRequest)
        }
        sent.append(FetchField(field.name, text))
      }
    }
    guard let said = gatewayFields(exchange, request) else { return .refused(ProblemCatalogue.malformedRequest) }
    guard let who = Self.callerFields(exchange, services) else { return .refused(ProblemCatalogue.accessDenied) }
    guard let asked = service.request(method, fields: Self.joined(sent) + said + who), asked.message != nil else {
      return .refused(ProblemCatalogue.headTooLarge)
    }
    return .ready(asked)
  }

  /// Cookies in one field, as HTTP/1.1 has them (RFC 9113 section 8.2.3).
  private static func joined(_ fields: [FetchField]) -> [FetchField] {
    let cookies = fields.filter { $0.name == "cookie" }
    guard cookies.count > 1 else { return fields }
    let others = fields.filter { $0.name != "cookie" }
    return others + [FetchField("cookie", cookies.map(\.value).joined(separator: "; "))]
  }

  /// What the gateway says of the request itself; nil where it is no text.
  private func gatewayFields(_ exchange: borrowing Exchange, _ request: RequestHead) -> [FetchField]? {
    var target = request.bytes(request.path).array
    let query = Self.query(exchange, request)
    if !query.isEmpty { target += [UInt8(ascii: "?")] + query }
    guard let uri = String(validating: target, as: UTF8.self),
      let host = String(validating: request.bytes(request.authority).array, as: UTF8.self),
      let method = String(validating: request.bytes(request.methodText).array, as: UTF8.self)
    else { return nil }
    return [
      FetchField("X-Forwarded-Method", method), FetchField("X-Forwarded-Uri", uri),
      FetchField("X-Forwarded-Host", host), FetchField("X-Forwarded-Proto", exchange.isSecure ? "https" : "http"),
      FetchField("X-Forwarded-For", "\(exchange.client)"), FetchField("X-Request-Id", exchange.decision.text),
    ]
  }

  /// The query as the upstream gets it: what a policy has taken out of it, a key above all, is nobody else's.
  static func query(_ exchange: borrowing Exchange, _ request: RequestHead) -> [UInt8] {
    exchange.changedQuery?.array ?? request.bytes(request.query).array
  }

  /// Who calls; nil where somebody's name cannot stand in a field: left out, it would be somebody else's.
  private static func callerFields(_ exchange: borrowing Exchange, _ services: Services) -> [FetchField]? {
    var fields: [FetchField] = []
    if exchange.consumer >= 0 {
      let consumer = services.consumer(exchange.consumer)
      fields.append(FetchField("X-Consumer-Id", consumer.id))
      if let tenant = consumer.tenant { fields.append(FetchField("X-Consumer-Tenant", tenant)) }
      if !consumer.groups.isEmpty {
        fields.append(FetchField("X-Consumer-Groups", consumer.groups.joined(separator: ",")))
      }
    }
    if let identity = exchange.identity {
      for (name, value) in [
        ("X-Identity-Issuer", identity.issuer), ("X-Identity-Subject", identity.subject),
        ("X-Identity-Client", identity.client),
      ] {
        if let value { fields.append(FetchField(name, value)) }
      }
    }
    return fields.allSatisfy { $0.value.utf8.allSatisfy { $0 >= 32 && $0 != 127 } } ? fields : nil
  }
}

extension FieldSelector {
  /// Its name in lower case.
  var name: String { String(decoding: lowercased, as: UTF8.self) }
}
