import Core
import HTTP
import Pipeline
import Simulation
import Testing

@testable import Gateway

/// Lets requests pass for which there is a record.
private final class Looking: RequestHook {
  func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    guard let wanted = RecordRequest(.get, purpose: "test", name: "a"),
      services.records?.begin(wanted, ticket: exchange.ticket) == true
    else { return .refuse(Refusal(ProblemCatalogue.quotaUnavailable)) }
    return .wait
  }

  func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    let outcome = services.records?.outcome(ticket: exchange.ticket)
    // Once only.
    guard outcome == .done([1]), services.records?.outcome(ticket: exchange.ticket) == nil else {
      return .refuse(Refusal(ProblemCatalogue.quotaUnavailable))
    }
    return .next
  }
}

@Suite("RequestFlow: records") struct RequestFlowRecordTests {
  /// A gateway whose orders go nowhere but into a list, and are not taken once it is full.
  private final class Orders {
    var taken: [RecordOrder] = []
    var desk: RecordDesk?
    var isFull = false
  }

  private let orders = Orders()
  private let bench: FlowBench

  init() throws {
    bench = try FlowBench(
      FlowSetup(chain: [Looking()]),
      fetches: { [orders] loop in
        let desk = RecordDesk(world: loop) { [unowned orders] in
          if !orders.isFull { orders.taken.append($0) }
          return !orders.isFull
        }
        orders.desk = desk
        return LoopFetches(
          desk: FetchDesk(world: loop) { _ in false }, issuers: IssuerBook(world: loop) { _ in false }, records: desk)
      })
    bench.origin()
  }

  private func tell(_ outcome: RecordOutcome, of order: Int) {
    bench.node.send(.record(outcome, order: orders.taken[order].number))
    bench.world.settle()
  }

  @Test("Where nobody takes the order the request is refused at once")
  func full() {
    orders.isFull = true
    let client = bench.client(get("/"))
    bench.world.run(within: .seconds(1)) { !client.responses.isEmpty }
    #expect(client.statuses == [503] && orders.desk?.count == 0)
  }

  @Test("A request that waits for a record goes on when the store has answered, or is refused when it has not")
  func waits() {
    let clients = (0..<2).map { _ in bench.client(get("/")) }
    bench.world.settle()
    #expect(orders.taken.count == 2 && clients.allSatisfy(\.responses.isEmpty))
    tell(.unavailable, of: 1)
    tell(.done([1]), of: 0)
    bench.world.run(within: .seconds(1)) { clients.allSatisfy { !$0.responses.isEmpty } }
    #expect(clients.map(\.statuses).sorted { $0[0] < $1[0] } == [[200], [503]])
    // What is said twice is heard once.
    tell(.done([1]), of: 0)
    #expect(orders.desk?.count == 0)
    for client in clients { client.peer.close() }
    bench.expectRest()
  }

  @Test("What is never answered does not fill the desk for ever")
  func lost() throws {
    let desk = try #require(orders.desk)
    let wanted = try #require(RecordRequest(.get, purpose: "test", name: "a"))
    for ticket in 1...UInt64(RecordDesk.waitingLimit) { #expect(desk.begin(wanted, ticket: ticket)) }
    #expect(!desk.begin(wanted, ticket: 9_999))
    bench.world.run(for: .seconds(10))
    #expect(desk.begin(wanted, ticket: 9_999) && desk.count == 1)
  }
}
