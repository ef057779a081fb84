// The keys of issuers as one loop knows them. The control loop fetches them and sends what is new; a policy that
// misses one has the issuer asked, and waits. How often that is done is the issuer's clock: whoever invents names of
// keys gets an answer from memory.

import Core

/// A loop's keys of issuers. Outlives configurations; not thread-safe.
public final class IssuerBook {
  /// The most exchanges of a loop that wait for issuers.
  public static var waitingLimit: Int { 1_024 }
  /// After how long without an answer an issuer is asked anew, in nanoseconds: a mailbox was full.
  private static var patience: Int64 { 10_000_000_000 }
  /// For how long the keys of an issuer are kept that no configuration names any more, in nanoseconds: requests that
  /// began under the former one still go by them.
  private static var goneRest: Int64 { 60_000_000_000 }
  /// Up to so many issuers it is faster to look at each than to compute a hash.
  private static var fewPages: Int { 8 }

  private struct Page {
    let source: KeySource
    var keys: IssuerKeys?
    var asksAgainAt = Instant(nanoseconds: .min)
    /// When the control loop was asked; never where it has answered.
    var askedAt = Instant.never
    var waiting: [UInt64] = []
    var isGone = false
  }

  /// How often the keys of any issuer have changed.
  public private(set) var changes: UInt64 = 0

  private let world: any World
  private let send: (KeySource) -> Bool
  private var pages: ContiguousArray<Page> = []
  private var places: [KeySource: Int] = [:]
  private var waitingCount = 0
  private var called = CalledTickets<Void>()

  /// A book whose questions are taken by `send`, which says whether it could. Each is answered by ``take(_:)``.
  public init(world: any World, send: @escaping (KeySource) -> Bool) { (self.world, self.send) = (world, send) }

  /// The keys of an issuer; nil as long as none have been fetched. Some comparisons of texts.
  public func keys(of source: KeySource) -> IssuerKeys? { place(of: source).flatMap { pages[$0].keys } }

  /// Has an issuer asked, because it has no keys yet or lacks the one that is needed: `ticket` is called when it has
  /// answered or could not, within seconds. False where that makes no sense so soon after the last time, and where
  /// too many wait.
  public func ask(_ source: KeySource, ticket: UInt64) -> Bool {
    let place = place(of: source) ?? add(source)
    guard pages[place].asksAgainAt <= world.now else { return false }
    if pages[place].askedAt == .never || world.now.nanoseconds(since: pages[place].askedAt) > Self.patience {
      waitingCount -= pages[place].waiting.count
      pages[place].waiting = []
      guard send(source) else { return false }
      pages[place].askedAt = world.now
    }
    guard waitingCount < Self.waitingLimit else { return false }
    waitingCount += 1
    pages[place].waiting.append(ticket)
    return true
  }

  private func place(of source: KeySource) -> Int? {
    pages.count <= Self.fewPages ? pages.firstIndex { $0.source == source } : places[source]
  }

  private func add(_ source: KeySource) -> Int {
    places[source] = pages.count
    pages.append(Page(source: source))
    return pages.count - 1
  }

  // MARK: For the loop

  /// Goes by what is new. ``nextCalled()`` has the tickets that are to be called.
  public func take(_ news: IssuerNews) {
    guard let place = place(of: news.source) ?? (news.isGone ? nil : add(news.source)) else { return }
    called.add(pages[place].waiting, ())
    waitingCount -= pages[place].waiting.count
    pages[place].waiting = []
    pages[place].askedAt = .never
    pages[place].isGone = news.isGone
    if news.isGone {
      pages[place].asksAgainAt = world.now.advanced(byNanoseconds: Self.goneRest)
    } else {
      if pages[place].keys?.keys !== news.keys?.keys { changes += 1 }
      (pages[place].keys, pages[place].asksAgainAt) = (news.keys, news.asksAgainAt)
    }
    dropGone()
  }

  private func dropGone() {
    let now = world.now
    guard pages.contains(where: { $0.isGone && $0.asksAgainAt <= now && $0.waiting.isEmpty }) else { return }
    pages.removeAll { $0.isGone && $0.asksAgainAt <= now && $0.waiting.isEmpty }
    places = [:]
    for (index, page) in pages.enumerated() { places[page.source] = index }
  }

  /// The next ticket to be called; nil where there is none.
  public func nextCalled() -> UInt64? { called.next() }

  /// How many exchanges wait.
  public var count: Int { waitingCount }
  /// How many issuers are known.
  public var sourceCount: Int { pages.count }
}
