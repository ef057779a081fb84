import Core
import Crypto
import Pipeline

// Which client a request is of: one of the configuration, or one that operators have registered while the server runs. Those
// lie in the store that nodes share and are read each time, so that one that was made is good on every node at once, and one
// that was deleted is not.

extension OAuth2Server {
  /// What is known of a client's name.
  enum ClientFinding {
    case known(OAuthClient)
    case unknown
    /// The store is asked.
    case waiting
    /// It cannot be found out, or the address has named too many that are none: this is the answer.
    case decided(Verdict)
  }

  /// The client of this name. Where that has to wait, whoever goes on behind ``Awaited/client`` asks again.
  func client(
    _ id: String, behind awaited: Awaited, _ exchange: inout Exchange, _ services: Services
  ) -> ClientFinding {
    if let client = clients[id] { return .known(client) }
    guard takesRegistered, OAuthClient.isID(id), let site else { return .unknown }
    let errand = exchange.errand
    if let (known, client) = errand.lookUp, known == id { return client.map { .known($0) } ?? .unknown }
    if awaited == .client {
      guard case .done(let bytes) = services.records?.outcome(ticket: exchange.ticket) else {
        return .decided(Self.unavailable)
      }
      let now = services.world.wallTime.seconds
      let rules = OAuthClientRules(issuer: site.issuer, audience: audience)
      let client = bytes.flatMap { RegisteredClient($0, server: rules) }
      errand.lookUp = (id, client.flatMap { $0.id == id ? $0.client(at: now) : nil })
      return self.client(id, behind: .nothing, &exchange, services)
    }
    if failures.isShut(exchange, services) { return .decided(.refuse(FailureGate.refusal)) }
    let name = RegisteredClient.recordName(issuer: site.issuer, id: id)
    guard let request = RecordRequest(.find, purpose: RegisteredClient.shelf, name: name),
      services.records?.begin(request, ticket: exchange.ticket) == true
    else { return .decided(Self.unavailable) }
    exchange.awaited = .client
    return .waiting
  }

  /// Notes that somebody has shown what is not good, in the whole cluster, and answers `answer` then.
  func fail(
    _ answer: OAuthAnswer, name: String? = nil, _ exchange: inout Exchange, _ services: Services
  ) -> Verdict {
    exchange.errand.answer = answer
    let verdict: Verdict
    if let name {
      let bytes = Array(name.utf8)
      verdict = failures.refuse(FailureGate.refusal, name: RawSpan(bytes), &exchange, services)
    } else {
      verdict = failures.refuse(FailureGate.refusal, &exchange, services)
    }
    return failed(verdict, &exchange)
  }

  /// The failure is counted, or has still to be.
  func failed(_ verdict: Verdict, _ exchange: inout Exchange) -> Verdict {
    if case .wait = verdict { return .wait }
    guard let answer = exchange.errand.answer else { return .refuse(FailureGate.refusal) }
    return reply(answer, &exchange)
  }
}
