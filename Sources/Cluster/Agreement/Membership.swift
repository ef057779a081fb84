// Who is there. Every node tells the store once a second what there is to say of it, and hears with the answer what it
// might have missed: who leads, which list of members holds, and what other parts of the agent add. The leader publishes the
// list of those that live.

import Core
import Crypto

/// A node's part in knowing the members. It belongs to the control loop.
public final class Membership: AgentPart {
  /// Nanoseconds between two signs of life.
  public static let interval: Int64 = 1_000_000_000
  /// A sign of life has as long to be answered, and after news the next one comes so soon.
  private static let patience: Int64 = 900_000_000
  private static let newsPause: Int64 = 20_000_000
  /// Before the id of a router; as in the library.
  private static let routerMark = "router:"

  /// What parts of the agent add to the record before each sign of life.
  var contributors: [(inout MemberRecord) -> Void] = []
  /// Called with the answer to each sign of life: a list of names and values.
  var observers: [(AgentReply) -> Void] = []
  /// Called when the list of members, or what is known of them, has changed.
  var listObservers: [(Membership) -> Void] = []

  /// What this node last said of itself.
  public private(set) var own: MemberRecord
  /// Grows with every change of the list; 0 where none is known.
  public private(set) var generation: Int64 = 0
  /// All nodes of which the store knows, sorted by id: the dead of the last hour too.
  public private(set) var all: [Member] = []
  /// All routers of which it knows, likewise.
  public private(set) var routers: [Member] = []
  /// How many members the leader lists.
  public private(set) var listedCount = 0
  /// When ``all`` was told, by the boot clock in nanoseconds.
  public private(set) var toldAt: Int64 = 0

  private let context: AgentContext
  private let leadership: Leadership
  /// What it is called in the store.
  private let ownField: String
  /// What of the record routers were last told at once.
  private var toldNews: MemberRecord.News?
  private var tellAt: Int64 = .max
  private var sentAt: Int64 = 0
  private var isTelling = false
  private var isListing = false
  private var isRefreshing = false
  /// The list must be made again, or asked for again, as soon as what is under way is answered.
  private var mustList = false
  private var waiting: [(Bool) -> Void] = []
  private var isLeaving = false

  /// The part of a node, or of a router.
  init(_ context: AgentContext, _ leadership: Leadership, isRouter: Bool = false) {
    self.context = context
    self.leadership = leadership
    ownField = (isRouter ? Self.routerMark : "") + context.identity.id
    own = MemberRecord(context.identity)
    own.libraries = [LaneLibrary.current.name, AgreementLibrary.current.name]
    leadership.observers.append { [weak self] _ in self?.leaderChanged() }
  }

  /// The members that the leader lists, sorted by id.
  public var listed: [Member] { all.filter(\.isListed) }

  /// Something that the record says has changed: tells at once.
  public func noteNews() {
    let soon = sentAt + Self.newsPause
    guard tellAt != .max, soon < tellAt else { return }
    tellAt = soon
    context.mustAdvance = true
  }

  /// Reads what the store knows of all members, into ``all``. `then` is told whether that was possible; exactly once.
  public func refresh(then: @escaping (Bool) -> Void = { _ in }) {
    waiting.append(then)
    guard !isRefreshing else { return }
    isRefreshing = true
    context.store.call("roster", [String]()) { [self] reply in
      isRefreshing = false
      let isGood = read(reply)
      let told = waiting
      waiting = []
      for then in told { then(isGood) }
      if isGood { for observer in listObservers { observer(self) } }
    }
  }

  /// Takes the node off the members.
  func leave(then: @escaping () -> Void) {
    isLeaving = true
    tellAt = .max
    context.store.call("leave", [ownField]) { _ in then() }
  }

  // MARK: Part

  func connected() { tellAt = isLeaving ? .max : 0 }

  func disconnected() { tellAt = .max }

  func heard(_ kind: String, _ payload: [UInt8]) {
    switch kind {
    case "list": if Int64(String(decoding: payload, as: UTF8.self)) != generation { refresh() }
    case "member": list()
    default: return
    }
  }

  func advance(_ moment: Int64) -> Int64 {
    if tellAt <= moment, !isTelling { tell(moment) }
    return isTelling ? .max : tellAt
  }

  private func leaderChanged() {
    noteNews()
    list()
  }

  // MARK: Signs of life

  private func tell(_ moment: Int64) {
    for contribute in contributors { contribute(&own) }
    own.proof = Base64.encode(context.secrets.code(of: own.place, for: .place))
    isTelling = true
    sentAt = moment
    tellAt = moment + Self.interval
    let news = own.news
    let mark = news == toldNews ? [] : [Array("news".utf8)]
    context.store.call("tell", [Array(ownField.utf8), own.encoded] + mark, within: Self.patience) { [self] reply in
      isTelling = false
      if case .refused(_, let reason) = reply { context.note(refusal: reason) }
      guard case .list = reply else { return }
      toldNews = news
      context.note(refusal: nil)
      own.storeMicroseconds = max(1, (context.clock() - moment) / 1000)
      leadership.told(reply["lead"])
      if let generation = reply["list"]?.number, generation != self.generation { refresh() }
      for observer in observers { observer(reply) }
      list()
    }
  }

  /// As the leader: sees to it that the list is right.
  private func list() {
    guard let epoch = leadership.fence(at: context.clock()) else { return }
    guard !isListing else {
      mustList = true
      return
    }
    (isListing, mustList) = (true, false)
    context.store.call("list", [context.identity.id, "\(epoch)", "\(generation)"]) { [self] _ in
      isListing = false
      if mustList { list() }
    }
  }

  private func read(_ reply: AgentReply) -> Bool {
    let items = reply.items
    guard items.count >= 2, items.count % 3 == 2, let generation = items[0].number, let nodes = items[1].text else {
      return false
    }
    let listed = Set(nodes.split(separator: " ").map(String.init))
    var (all, routers): ([Member], [Member]) = ([], [])
    for place in stride(from: 2, to: items.count, by: 3) {
      guard let id = items[place].text, let age = items[place + 1].number, let bytes = items[place + 2].bytes,
        let record = MemberRecord(bytes)
      else { continue }
      let member = Member(record: record, age: min(age, Int64.max / 1000) * 1000, isListed: listed.contains(id))
      if id.hasPrefix(Self.routerMark) { routers.append(member) } else { all.append(member) }
    }
    (self.generation, self.all, self.routers, toldAt) = (generation, all, routers, context.clock())
    listedCount = listed.count
    return true
  }
}
