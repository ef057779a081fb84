import Cluster
import Core
import Gateway
import Pipeline

/// Counters for people.
enum InspectText {
  /// All of them, one paragraph each.
  static func render(
    _ counters: [(InspectSurvey.Entry, LaneInspection)], _ survey: InspectSurvey, clock: WallTime, laneCount: Int
  ) -> String {
    var text = "cluster \(survey.cluster.name), the store's time is \(CivilDate(clock).rfc3339)\n"
    if counters.isEmpty { text += "no limit applies\n" }
    for (entry, counter) in counters {
      text += "\n\(entry.outline.name) of \(entry.outline.policy), by \(entry.outline.subjects)"
      text += "\(entry.key.map { ", key \($0)" } ?? ""), on \(entry.routes.joined(separator: ", "))\n"
      for (name, value) in lines(entry, counter, clock, laneCount) {
        text += "  " + name + spaces(9 - name.count) + value + "\n"
      }
    }
    if !survey.unknown.isEmpty { text += "\n" }
    for outline in survey.unknown {
      text += "not looked up, since it counts by \(outline.subjects): \(outline.name) of \(outline.policy)\n"
    }
    return text
  }

  private static func lines(
    _ entry: InspectSurvey.Entry, _ counter: LaneInspection, _ clock: WallTime, _ laneCount: Int
  ) -> [(String, String)] {
    var lines = [("lane", "\(counter.lane) of \(laneCount)")]
    var kind = counter.kind
    if case .calendar = counter.level.rule {
      let period = counter.level.period
      kind += " from \(CivilDate(period.start).rfc3339) to \(CivilDate(period.end).rfc3339)"
    }
    lines.append(("class", kind + ", mode \(entry.outline.terms.mode.rawValue)"))
    for (index, key) in counter.keys.enumerated() { lines.append((index == 0 ? "hash" : "before", key)) }
    if !counter.field.isEmpty {
      lines.append(("field", counter.field))
      for (index, value) in counter.values.enumerated() {
        guard let value else { continue }
        lines.append(("value", hexadecimal(value) + (index == 0 ? "" : " (in the hash before)")))
      }
    }
    lines.append(("state", state(entry, counter)))
    for holder in counter.holders {
      let left = holder.moment.microseconds - clock.microseconds
      let who = "node \(hexadecimal(holder.node))"
      if holder.slots == 0 {
        lines.append(("asked", "\(who) for tokens on lease, \(InquiryText.span(max(0, -left / 1_000_000))) ago"))
      } else {
        let slots = holder.slots == 1 ? "1 slot" : "\(holder.slots) slots"
        lines.append(
          ("holds", "\(who): \(slots), " + (left > 0 ? "\(milliseconds(left)) ms left" : "ended, free for others")))
      }
    }
    return lines
  }

  private static func state(_ entry: InspectSurvey.Entry, _ counter: LaneInspection) -> String {
    switch counter.outcome {
    case .answered(let level):
      let (limit, left) = (level.rule.limit, level.remaining)
      var text = "limit \(limit), used \(limit - left), left \(left)"
      if left < limit, level.resetNanoseconds > 0, level.resetNanoseconds < .max {
        text += ", full again in \(InquiryText.span((level.resetNanoseconds + 999_999_999) / 1_000_000_000))"
      }
      return text
    case .notOpen: return "nobody has counted in this lane since the store's primary changed"
    case .gated(let until): return "nodes merge after a failover, until \(CivilDate(until).rfc3339) at the latest"
    case .otherPeriod: return "its period has just ended; ask again"
    case .failed, .none: return "the store's answer cannot be read"
    }
  }

  private static func milliseconds(_ microseconds: Int64) -> Int64 { (microseconds + 999) / 1000 }

  private static func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  private static func hexadecimal(_ number: UInt64) -> String {
    let digits = String(number, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
