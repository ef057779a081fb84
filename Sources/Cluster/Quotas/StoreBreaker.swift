/// Keeps requests from waiting for a store that does not answer.
///
/// Closed, everybody asks. It opens after five deadlines missed in a row, or after half of at least twenty within a
/// second, or where there is no connection. Open, nobody asks except a probe now and then; three good probes close it.
/// Moments are nanoseconds of one clock.
struct StoreBreaker {
  enum State: Equatable { case closed, open }

  private static let missesInARow = 5
  private static let window: Int64 = 1_000_000_000
  private static let fewest = 20
  private static let goodProbes = 3
  /// Between two probes of a store that does not answer; drawn from a fifth less to a fifth more.
  private static let pause: Int64 = 250_000_000

  private(set) var state = State.open
  private var misses = 0
  private var windowStart: Int64 = 0
  private var asked = 0
  private var missed = 0
  private var good = 0
  private var isProbing = false
  private var nextProbe: Int64 = .max
  /// How often it has opened, and when it last did.
  private(set) var openings = 0
  private(set) var opened: Int64 = 0

  /// When ``takeProbe(_:)`` may have something to send.
  var deadline: Int64 { state == .open && !isProbing ? nextProbe : .max }

  /// A question was answered in time.
  mutating func answered(_ moment: Int64) {
    misses = 0
    count(moment, isMiss: false)
  }

  /// A deadline has passed. True where the breaker has opened by it.
  mutating func missed(_ moment: Int64, random: UInt64) -> Bool {
    misses += 1
    count(moment, isMiss: true)
    guard state == .closed, misses >= Self.missesInARow || asked >= Self.fewest && missed * 2 >= asked else {
      return false
    }
    open(moment, random)
    return true
  }

  private mutating func count(_ moment: Int64, isMiss: Bool) {
    if moment - windowStart >= Self.window { (windowStart, asked, missed) = (moment, 0, 0) }
    asked += 1
    missed += isMiss ? 1 : 0
  }

  private mutating func open(_ moment: Int64, _ random: UInt64) {
    if state == .closed { (openings, opened) = (openings + 1, moment) }
    state = .open
    good = 0
    isProbing = false
    schedule(moment, random)
  }

  private mutating func schedule(_ moment: Int64, _ random: UInt64) {
    nextProbe = moment + Self.pause * 4 / 5 + Int64(random % UInt64(Self.pause * 2 / 5))
  }

  /// There is no connection: nobody asks until there is one.
  mutating func disconnected(_ moment: Int64, random: UInt64) {
    open(moment, random)
    nextProbe = .max
  }

  /// There is a connection, and the server has answered on it.
  mutating func connected() {
    state = .closed
    misses = 0
    asked = 0
    missed = 0
    isProbing = false
    nextProbe = .max
  }

  /// Whether a probe is due; it is then under way.
  mutating func takeProbe(_ moment: Int64) -> Bool {
    guard state == .open, !isProbing, nextProbe <= moment else { return false }
    isProbing = true
    return true
  }

  /// How a probe went. One that was good is followed by the next at once.
  mutating func probed(isGood: Bool, _ moment: Int64, random: UInt64) {
    guard state == .open else { return }
    isProbing = false
    guard isGood else {
      good = 0
      return schedule(moment, random)
    }
    good += 1
    nextProbe = moment
    if good >= Self.goodProbes { connected() }
  }

  /// A server that said nothing has said something: as good as a probe, and no reason to wait for the next one.
  mutating func heard(_ moment: Int64) {
    if state == .open && nextProbe != .max { nextProbe = moment }
  }
}
