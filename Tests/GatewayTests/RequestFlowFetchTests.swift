import Core
import Crypto
import HTTP
import Pipeline
import Simulation
import Testing

@testable import Gateway

/// Goes by the word of another service.
private final class Asking: RequestHook {
  private let request: FetchRequest

  init() throws { request = FetchRequest(try #require(FetchURL("http://127.0.0.1/word"))) }

  func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    services.fetches?.begin(self.request, ticket: exchange.ticket) == true
      ? .wait : .refuse(Refusal(ProblemCatalogue.upstreamBusy))
  }

  func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    guard case .answered(200, _, _)? = services.fetches?.outcome(ticket: exchange.ticket) else {
      return .refuse(Refusal(ProblemCatalogue.noUpstream))
    }
    return .next
  }
}

/// Lets nobody pass without keys.
private final class Keyed: RequestHook, KeySourceUser {
  static let source = KeySource.keys(at: "https://issuer.test/keys")

  var keySources: [KeySource] { [Self.source] }

  func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    if services.issuers?.keys(of: Self.source) != nil { return .next }
    return services.issuers?.ask(Self.source, ticket: exchange.ticket) == true
      ? .wait : .refuse(Refusal(ProblemCatalogue.upstreamBusy))
  }

  func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    onRequest(&exchange, request, services)
  }
}

/// A gateway whose orders go nowhere but into lists.
private final class FetchingFlow {
  private(set) var orders: [FetchOrder] = []
  private(set) var asked: [KeySource] = []
  private(set) var fetches: LoopFetches?
  private(set) var bench: FlowBench!

  init(_ policy: any ChainMember) throws {
    bench = try FlowBench(
      FlowSetup(chain: [policy]),
      fetches: { [unowned self] loop in
        let made = LoopFetches(
          desk: FetchDesk(world: loop) { [unowned self] in
            orders.append($0)
            return true
          },
          issuers: IssuerBook(world: loop) { [unowned self] in
            asked.append($0)
            return true
          })
        fetches = made
        return made
      })
    bench.origin()
  }

  func tell(_ news: FetchNews) {
    bench.node.send(.fetched(news))
    bench.world.settle()
  }

  func tell(_ outcome: FetchOutcome, of order: Int) { tell(.outcome(outcome, order: orders[order].number)) }
}

@Suite("RequestFlow: fetches") struct RequestFlowFetchTests {
  private static let good = FetchOutcome.answered(status: 200, fields: [], body: [])

  @Test("A request that waits for another service goes on when that has answered, or is refused when it could not")
  func waits() throws {
    let flow = try FetchingFlow(Asking())
    let clients = (0..<2).map { _ in flow.bench.client(get("/")) }
    flow.bench.world.settle()
    #expect(flow.orders.count == 2 && clients.allSatisfy(\.responses.isEmpty))
    flow.tell(.failed("it took too long"), of: 1)
    flow.tell(Self.good, of: 0)
    flow.bench.world.run(within: .seconds(1)) { clients.allSatisfy { !$0.responses.isEmpty } }
    #expect(clients.map(\.statuses).sorted { $0[0] < $1[0] } == [[200], [503]])
    #expect(flow.fetches?.desk.count == 0)
    for client in clients { client.peer.close() }
    flow.bench.expectRest()
  }

  @Test("An answer for a client that has left is dropped, and is not the next one's")
  func left() throws {
    let flow = try FetchingFlow(Asking())
    let client = flow.bench.client(get("/"))
    flow.bench.world.settle()
    client.peer.reset()
    flow.bench.world.settle()
    let next = flow.bench.client(get("/"))
    flow.bench.world.settle()
    flow.tell(Self.good, of: 0)
    #expect(next.responses.isEmpty && flow.fetches?.desk.count == 1)
    flow.tell(.failed("no"), of: 1)
    flow.bench.world.run(within: .seconds(1)) { !next.responses.isEmpty }
    #expect(next.statuses == [503] && flow.fetches?.desk.count == 0)
    next.peer.close()
    flow.bench.expectRest()
  }

  @Test("An answer that never comes ends with 504, and a late one does nothing")
  func late() throws {
    let flow = try FetchingFlow(Asking())
    let client = flow.bench.client(get("/"))
    flow.bench.world.run(within: .seconds(6)) { !client.responses.isEmpty }
    #expect(client.statuses == [504])
    flow.tell(Self.good, of: 0)
    #expect(client.statuses == [504] && flow.fetches?.desk.count == 0)
    client.peer.close()
    flow.bench.expectRest()
  }

  @Test("Requests wait for the keys of an issuer, which is asked once, and later ones do not")
  func keys() throws {
    let flow = try FetchingFlow(Keyed())
    let clients = (0..<3).map { _ in flow.bench.client(get("/")) }
    flow.bench.world.settle()
    #expect(flow.asked == [Keyed.source] && clients.allSatisfy(\.responses.isEmpty))
    let keys = IssuerKeys(
      try JSONWebKeySet(Array("{\"keys\":[\(TestIssuer.key("a"))]}".utf8)), fetchedAt: flow.bench.world.wallTime)
    flow.tell(.issuer(IssuerNews(Keyed.source, keys, asksAgainAt: .never)))
    let later = flow.bench.client(get("/"))
    let all = clients + [later]
    flow.bench.world.run(within: .seconds(1)) { all.allSatisfy { !$0.responses.isEmpty } }
    #expect(all.allSatisfy { $0.statuses == [200] } && flow.asked.count == 1)
    for client in all { client.peer.close() }
    flow.bench.expectRest()
  }

  @Test("Without keys, and too soon to ask again, requests are refused at once")
  func refusedAtOnce() throws {
    let flow = try FetchingFlow(Keyed())
    flow.tell(.issuer(IssuerNews(Keyed.source, nil, asksAgainAt: .never)))
    #expect(try flow.bench.exchange(get("/")).status == 503)
    #expect(flow.asked.isEmpty)
  }

  @Test("What is known of issuers is printed")
  func metrics() {
    var facts = NodeFacts()
    facts.issuers = [
      IssuerFacts(
        issuer: "https://a.test", keys: 2, fetchedAt: WallTime(microseconds: 7_500_000), fault: nil, successes: 3,
        failures: 4)
    ]
    let buffer = ByteBuffer()
    Metrics(loops: 1, problemCodes: []).writeText(facts, into: buffer)
    for line in [
      "sluice_issuer_fetches_total{issuer=\"https://a.test\",outcome=\"ok\"} 3\n",
      "sluice_issuer_fetches_total{issuer=\"https://a.test\",outcome=\"failed\"} 4\n",
      "sluice_issuer_keys{issuer=\"https://a.test\"} 2\n",
      "sluice_issuer_keys_fetch_time_seconds{issuer=\"https://a.test\"} 7\n",
    ] { #expect(buffer.text.contains(line)) }
  }

  @Test("A chain says where the keys of its policies come from")
  func sources() throws {
    #expect(PolicyChain([try Asking()]).keySources.isEmpty)
    #expect(PolicyChain([Keyed(), try Asking(), Keyed()]).keySources == [Keyed.source, Keyed.source])
  }
}
