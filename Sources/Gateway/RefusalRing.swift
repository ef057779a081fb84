import Core
import HTTP
import Pipeline

/// What is kept of a refusal, so that it can be explained afterwards: plain data, and references to what does not change.
///
/// The route and the names are held rather than looked up later, since a reload may have changed what an index means.
struct RefusalRecord {
  /// How a level stood; what the level is, the route knows.
  struct Level: BitwiseCopyable {
    var remaining: Int64 = 0
    var resetNanoseconds: Int64 = 0
    var isDenied = false
  }

  var decision = DecisionID(high: 0, low: 0)
  var time = WallTime(microseconds: 0)
  var client = IPAddress(high: 0, low: 0)
  var refusal = Refusal(ProblemCatalogue.noRoute)
  /// What was wrong with the message, where that was it.
  var fault: HTTPFault?
  /// Nil where it was refused before there was one.
  var route: RoutePlan?
  var consumer: String?
  /// Whom a token stands for.
  var subject: String?
  var tenant: String?
  var key: String?
  var limits = LimitDecision.none
  var source = LimitSource.embedded
  var levels = InlineArray<8, Level>(repeating: Level())
  var levelCount = 0
  /// See `LimitQuestion.firstName`.
  var firstName: UInt16 = 0
}

/// The last refusals of one loop. Those by limits are kept apart from the others, so that a flood of one kind, a scan
/// for paths that are not there say, does not displace what somebody will ask about.
///
/// Room is taken with the first refusal, less than 100 KiB for each kind, and never more; requests that pass never come here.
final class RefusalRing {
  /// How many are kept of each kind.
  static let capacity = 256

  private struct Ring {
    private var records: ContiguousArray<RefusalRecord> = []
    private var next = 0

    mutating func add(_ record: RefusalRecord) {
      if records.count < RefusalRing.capacity {
        if records.isEmpty { records.reserveCapacity(RefusalRing.capacity) }
        records.append(record)
      } else {
        records[next] = record
        next = (next + 1) % RefusalRing.capacity
      }
    }

    func find(_ decision: DecisionID) -> RefusalRecord? { records.first { $0.decision == decision } }
  }

  private var byLimits = Ring()
  private var others = Ring()

  /// Keeps a refusal, and forgets the oldest of its kind where there is no room.
  func add(_ record: RefusalRecord) {
    if record.limits == .denied || record.limits == .unavailable { byLimits.add(record) } else { others.add(record) }
  }

  /// The refusal of that name; nil where it was never here, or too many have followed. Linear.
  func find(_ decision: DecisionID) -> RefusalRecord? { byLimits.find(decision) ?? others.find(decision) }
}

extension RequestFlow {
  /// Keeps what there is to say of a refusal. Nothing is allocated but the ring itself, once.
  @inline(never)
  mutating func note(_ refusal: Refusal, of exchange: Int32) {
    guard let configuration = exchanges[exchange].configuration else { return }
    var record = RefusalRecord()
    record.decision = exchanges[exchange].exchange.decision
    record.time = world.wallTime
    record.client = exchanges[exchange].exchange.client
    record.refusal = refusal
    record.fault = exchanges[exchange].fault
    let route = exchanges[exchange].exchange.route
    let (consumer, key) = (exchanges[exchange].exchange.consumer, exchanges[exchange].exchange.key)
    let issued = exchanges[exchange].exchange.issuedKey
    record.subject = exchanges[exchange].exchange.identity.flatMap { $0.subject ?? $0.client }
    configuration.with { configuration in
      if route >= 0 { record.route = configuration.blueprint.routes[Int(route)] }
      guard consumer >= 0 else { return }
      let holder = configuration.services.consumer(consumer)
      record.consumer = holder.id
      record.tenant = holder.tenant
      record.key = configuration.services.keyName(key, of: consumer, issued: issued)
    }
    record.levelCount = exchanges[exchange].exchange.limits.count
    record.limits = exchanges[exchange].exchange.limits.decision
    record.source = exchanges[exchange].exchange.limits.source
    record.firstName = exchanges[exchange].exchange.limits.firstName
    for index in 0..<record.levelCount {
      record.levels[index].remaining = exchanges[exchange].exchange.limits[index].remaining
      record.levels[index].resetNanoseconds = exchanges[exchange].exchange.limits[index].resetNanoseconds
      record.levels[index].isDenied = exchanges[exchange].exchange.limits[index].isDenied
    }
    refusals.add(record)
  }

  /// Explains a refusal of this loop.
  func explain(_ decision: DecisionID, for inquiry: Inquiry) {
    guard let record = refusals.find(decision) else { return inquiry.answer(.unknown("decision")) }
    inquiry.answer(.document(RefusalText(record: record, services: configuration.services).bytes))
  }
}
