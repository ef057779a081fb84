// What a node says of the store that it shares with others.

import Cluster
import Core
import Pipeline

extension Metrics {
  /// Who decided, what that cost, and what is held for later.
  func writeQuota(_ text: MetricsText) {
    text.family(
      "sluice_quota_decisions_total", .counter,
      "Requests whose limits were decided with a shared store, by who decided: the store (exact), a slice of tokens that "
        + "the node holds (leased), what it knows of an exhausted limit (denycache), or, since the store could not be "
        + "asked, its own share (local) or the limit's rule (open, closed).")
    for source in LimitSource.allCases where source != .embedded {
      let labels = [("mode", source.rawValue)]
      text.sample("sluice_quota_decisions_total", labels, cells(Cell.decisions + source.label.cell))
    }
    for figure in QuotaFigure.allCases {
      let (name, kind, help) = figure.family
      text.single("sluice_quota_\(name)", kind, help, cells(Cell.quota + figure.rawValue))
    }
  }
}

extension QuotaFigure {
  /// The family's name behind the common part, its kind and its help.
  fileprivate var family: (name: String, kind: MetricsText.Kind, help: String) {
    switch self {
    case .calls: ("store_calls_total", .counter, "Commands sent to the shared store to decide limits.")
    case .items: ("store_items_total", .counter, "Questions in those commands; equal ones are one.")
    case .misses: ("store_misses_total", .counter, "Questions that the shared store did not answer in time.")
    case .leasedUnits: ("leased_units_total", .counter, "Units of limits that were granted to this node in slices.")
    case .spentUnits: ("spent_units_total", .counter, "Units out of slices that requests have spent.")
    case .returnedUnits:
      (
        "returned_units_total", .counter,
        "Units out of slices that were given back. What is neither spent, returned nor held is stranded."
      )
    case .heldUnits: ("held_units", .gauge, "Units in slices that this node holds.")
    case .recalls: ("recalls_total", .counter, "Times that this node has called slices of others in.")
    case .openings: ("breaker_openings_total", .counter, "Times that this node has stopped asking the store.")
    case .openBreakers: ("breakers_open", .gauge, "Loops and primaries between which nothing is asked at present.")
    }
  }
}

extension SharedQuotaStatistics {
  /// One of them.
  func value(_ figure: QuotaFigure) -> UInt64 {
    switch figure {
    case .calls: calls
    case .items: items
    case .misses: misses
    case .leasedUnits: leasedUnits
    case .spentUnits: spentUnits
    case .returnedUnits: returnedUnits
    case .heldUnits: heldUnits
    case .recalls: recalls
    case .openings: openings
    case .openBreakers: openBreakers
    }
  }
}
