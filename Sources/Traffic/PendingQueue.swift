/// Requests of one loop that wait for a connection, first come, first served, in one line an upstream.
///
/// Pure bookkeeping over the loop's exchange numbers; deadlines are the owner's, who calls ``remove(_:)`` when one has
/// passed. An exchange waits in one line at most. Constant time; only numbers larger than any before allocate.
public struct PendingQueue {
  private struct Link: BitwiseCopyable {
    var next: Int32 = -1
    var previous: Int32 = -1
    var line: Int32 = -1
  }

  private struct Line: BitwiseCopyable {
    var first: Int32 = -1
    var last: Int32 = -1
    var count: Int32 = 0
  }

  private var links: ContiguousArray<Link> = []
  private var lines: ContiguousArray<Line> = []

  /// No lines yet.
  public init() {}

  /// Adds an exchange at the end of a line, unless `limit` wait there already.
  public mutating func append(_ exchange: Int32, line: Int32, limit: Int) -> Bool {
    while lines.count <= Int(line) { lines.append(Line()) }
    while links.count <= Int(exchange) { links.append(Link()) }
    precondition(links[Int(exchange)].line < 0, "the exchange already waits")
    guard Int(lines[Int(line)].count) < limit else { return false }
    let last = lines[Int(line)].last
    links[Int(exchange)] = Link(previous: last, line: line)
    if last >= 0 { links[Int(last)].next = exchange } else { lines[Int(line)].first = exchange }
    lines[Int(line)].last = exchange
    lines[Int(line)].count &+= 1
    return true
  }

  /// The exchange that has waited longest, which stays in its line; −1 if none waits.
  public func first(line: Int32) -> Int32 { Int(line) < lines.count ? lines[Int(line)].first : -1 }

  /// Takes the exchange that has waited longest; −1 if none waits.
  public mutating func takeFirst(line: Int32) -> Int32 {
    guard Int(line) < lines.count else { return -1 }
    let exchange = lines[Int(line)].first
    if exchange >= 0 { remove(exchange) }
    return exchange
  }

  /// Takes an exchange out of its line, wherever it stands; one that does not wait is left alone.
  public mutating func remove(_ exchange: Int32) {
    guard contains(exchange) else { return }
    let link = links[Int(exchange)]
    let line = Int(link.line)
    if link.previous >= 0 { links[Int(link.previous)].next = link.next } else { lines[line].first = link.next }
    if link.next >= 0 { links[Int(link.next)].previous = link.previous } else { lines[line].last = link.previous }
    lines[line].count &-= 1
    links[Int(exchange)] = Link()
  }

  /// Whether the exchange waits.
  public func contains(_ exchange: Int32) -> Bool {
    exchange >= 0 && Int(exchange) < links.count && links[Int(exchange)].line >= 0
  }

  /// How many wait in the line.
  public func count(line: Int32) -> Int { Int(line) < lines.count ? Int(lines[Int(line)].count) : 0 }
}
