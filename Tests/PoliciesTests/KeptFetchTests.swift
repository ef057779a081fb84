import Core
import Pipeline
import Testing

@Suite("Fetches whose outcomes are kept")
struct KeptFetchTests {
  private let world = StillWorld()
  private let fetches = OpenFetches()
  private let desk: FetchDesk

  init() {
    desk = FetchDesk(world: world) { [fetches] in fetches.take($0) }
  }

  private func request() throws -> FetchRequest { FetchRequest(try #require(FetchURL("https://as.example/"))) }

  /// Begins a fetch; `noted` says what its outcome is noted as.
  private func begin(ticket: UInt64?, _ noted: @escaping (FetchOutcome) -> Void) throws -> Bool {
    let request = try request()
    return desk.begin(key: [1], ticket: ticket, request: { request }, note: noted)
  }

  @Test("Where there is no request, or nobody takes it, nothing is begun")
  func refused() throws {
    #expect(!desk.begin(key: [1], ticket: 1, request: { nil }, note: { _ in }) && desk.count == 0)
    fetches.isFull = true
    #expect(try !begin(ticket: 1) { _ in } && desk.count == 0)
    fetches.isFull = false
    #expect(try begin(ticket: 1) { _ in } && fetches.orders.count == 1)
  }

  @Test("An outcome is noted once, before anybody is called, and a request is made once")
  func notedOnce() throws {
    var noted: [Int] = []
    var made = 0
    for number in 0..<3 {
      let request = try request()
      let begun = desk.begin(key: [1], ticket: UInt64(number)) {
        made += 1
        return request
      } note: { _ in
        noted.append(number)
      }
      #expect(begun)
    }
    #expect(made == 1 && fetches.orders.count == 1 && desk.count == 3)
    desk.take(.failed("a"), of: fetches.orders[0].number)
    #expect(noted == [0] && desk.nextCalled() == 0 && desk.outcome(ticket: 0) == .failed("a"))
    desk.take(.failed("b"), of: fetches.orders[0].number)
    #expect(noted == [0])
  }

  @Test("What nobody waits for is noted too, and others may wait for it")
  func unattended() throws {
    var noted = 0
    #expect(try begin(ticket: nil) { _ in noted += 1 } && desk.count == 0)
    #expect(try begin(ticket: 7) { _ in noted += 10 } && desk.count == 1 && fetches.orders.count == 1)
    desk.take(.failed("a"), of: fetches.orders[0].number)
    #expect(noted == 1 && desk.nextCalled() == 7 && desk.nextCalled() == nil && desk.count == 0)
  }

  @Test("One that is lost keeps nobody from beginning another, and is not noted when it comes after all")
  func lost() throws {
    var noted: [String] = []
    #expect(try begin(ticket: 1) { _ in noted.append("first") })
    world.advance(seconds: 13.9)
    #expect(try begin(ticket: 2) { _ in noted.append("joined") } && fetches.orders.count == 1)
    world.advance(seconds: 0.1)
    #expect(try begin(ticket: 3) { _ in noted.append("second") } && fetches.orders.count == 2 && desk.count == 1)
    desk.take(.failed("late"), of: fetches.orders[0].number)
    #expect(noted.isEmpty && desk.nextCalled() == nil)
    desk.take(.failed("a"), of: fetches.orders[1].number)
    #expect(noted == ["second"] && desk.nextCalled() == 3)
  }

  @Test("Fetches that nobody waits for are bounded as well")
  func bounded() throws {
    let request = try request()
    for number in 0..<FetchDesk.waitingLimit {
      let key = [UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number)]
      #expect(desk.begin(key: key, ticket: nil, request: { request }, note: { _ in }))
    }
    #expect(!desk.begin(key: [9, 9, 9], ticket: nil, request: { request }, note: { _ in }))
    world.advance(seconds: 14)
    #expect(desk.begin(key: [9, 9, 9], ticket: nil, request: { request }, note: { _ in }))
  }
}
