"""The sentences of messages in Indonesian and English. `{name}` takes a field, already written for the language."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from monitor.locale import Lang
from monitor.messages import Kind

Sentences = Mapping[Lang, str]


def _pair(english: str, indonesian: str) -> Sentences:
    return MappingProxyType({Lang.EN: english, Lang.ID: indonesian})


SUBJECTS: Mapping[Kind, Sentences] = MappingProxyType(
    {
        Kind.DOWN: _pair("DOWN: {service} since {since}, {failing}", "GANGGUAN: {service} sejak {since}, {failing}"),
        Kind.RECOVERED: _pair("RECOVERED: {service} after {duration}", "PULIH: {service} setelah {duration}"),
        Kind.REMINDER: _pair(
            "STILL DOWN ({n}): {service} for {duration}, {failing}",
            "MASIH TERGANGGU ({n}): {service} selama {duration}, {failing}",
        ),
        Kind.DEGRADED: _pair("DEGRADED: {service}: {summary}", "MENURUN: {service}: {summary}"),
        Kind.RESTORED: _pair("WELL AGAIN: {service}: {incident}", "NORMAL KEMBALI: {service}: {incident}"),
        Kind.UNSTABLE: _pair(
            "UNSTABLE: {service} went down {n} times since {since}",
            "TIDAK STABIL: {service} terganggu {n} kali sejak {since}",
        ),
        Kind.BLIND: _pair(
            "MONITORING BLIND: no evidence of {count} of {total} services since {since}",
            "PEMANTAUAN BUTA: tidak ada bukti untuk {count} dari {total} layanan sejak {since}",
        ),
        Kind.SEEING: _pair(
            "MONITORING SEES AGAIN: blind for {duration}", "PEMANTAUAN PULIH: tanpa bukti selama {duration}"
        ),
        Kind.MAINTENANCE_ANNOUNCED: _pair(
            "Scheduled maintenance {maintenance}: {services}, {start}",
            "Pemeliharaan Terjadwal {maintenance}: {services}, {start}",
        ),
        Kind.MAINTENANCE_EXTENDED: _pair(
            "Maintenance {extends} is prolonged to {end}: {services}",
            "Pemeliharaan {extends} diperpanjang sampai {end}: {services}",
        ),
        Kind.MAINTENANCE_REMINDER: _pair(
            "Reminder: maintenance {maintenance} of {services} begins {start}",
            "Pengingat: pemeliharaan {maintenance} untuk {services} mulai {start}",
        ),
        Kind.MAINTENANCE_STARTED: _pair(
            "Maintenance {maintenance} of {services} has begun, until {end}",
            "Pemeliharaan {maintenance} untuk {services} dimulai, sampai {end}",
        ),
        Kind.MAINTENANCE_FINISHED: _pair(
            "Maintenance {maintenance} of {services} is over", "Pemeliharaan {maintenance} untuk {services} selesai"
        ),
        Kind.MAINTENANCE_CANCELLED: _pair(
            "Maintenance {maintenance} of {services} is cancelled",
            "Pemeliharaan {maintenance} untuk {services} dibatalkan",
        ),
        Kind.DISRUPTION: _pair("Disruption of {service} since {since}", "Gangguan pada {service} sejak {since}"),
        Kind.DISRUPTION_OVER: _pair(
            "Disruption of {service} is over after {duration}", "Gangguan pada {service} berakhir setelah {duration}"
        ),
        Kind.STATEMENT: _pair(
            "Service statement {month} version {version}: {partner}, {service}: {availability}",
            "Laporan Layanan {month} versi {version}: {partner}, {service}: {availability}",
        ),
        Kind.CREDIT_DUE: _pair(
            "Service credit for {month}: {partner}, {service}: {credit}",
            "Kredit Layanan {month}: {partner}, {service}: {credit}",
        ),
        Kind.CLAIM_DEADLINE: _pair(
            "Claim deadline {deadline}: {partner}, {service}, {month}",
            "Batas Waktu Klaim {deadline}: {partner}, {service}, {month}",
        ),
        Kind.ESCALATION: _pair(
            "ESCALATION level {level}: {incident} ({priority}) {summary}",
            "ESKALASI tingkat {level}: {incident} ({priority}) {summary}",
        ),
        Kind.QUESTION: _pair(
            "{incident}: information is missing: {missing}", "{incident}: informasi belum lengkap: {missing}"
        ),
        Kind.PLAN: _pair("{incident}: action plan: {note}", "{incident}: rencana tindakan: {note}"),
        Kind.CALL: _pair("{incident}: a call is convened: {note}", "{incident}: panggilan diadakan: {note}"),
        Kind.REQUEST: _pair(
            "{incident}: escalation requested to level {level}: {note}",
            "{incident}: eskalasi diminta ke tingkat {level}: {note}",
        ),
        Kind.DIGEST: _pair("{count} messages: {first}", "{count} pesan: {first}"),
        Kind.TEST: _pair("Test message of Jaga over {channel}", "Pesan uji Jaga melalui {channel}"),
    }
)

# The lines of a message, in their order: a line stands where its first field is given.
LINES: tuple[tuple[str, Sentences], ...] = (
    ("service", _pair("Service: {service}", "Layanan: {service}")),
    ("services", _pair("Services: {services}", "Layanan: {services}")),
    ("partner", _pair("Partner: {partner}", "Mitra: {partner}")),
    ("since", _pair("Since: {since} ({since_utc})", "Sejak: {since} ({since_utc})")),
    ("until", _pair("Until: {until} ({until_utc})", "Sampai: {until} ({until_utc})")),
    ("duration", _pair("Duration: {duration}", "Lamanya: {duration}")),
    ("n", _pair("Number: {n}", "Nomor: {n}")),
    (
        "failing",
        _pair(
            "Evidence: {failing}; more than half is downtime", "Bukti: {failing}; lebih dari separuh adalah Waktu Henti"
        ),
    ),
    ("where", _pair("Where: {where}", "Lokasi: {where}")),
    ("why", _pair("Why: {why}", "Sebab: {why}")),
    ("step", _pair("First failing step: {step}", "Langkah pertama yang gagal: {step}")),
    ("error", _pair("Last error: {error}", "Galat terakhir: {error}")),
    ("counted", _pair("Counted: {counted}", "Dihitung: {counted}")),
    ("excluded", _pair("Excluded: {excluded}", "Dikecualikan: {excluded}")),
    ("start", _pair("Begins: {start} ({start_utc})", "Mulai: {start} ({start_utc})")),
    ("end", _pair("Ends: {end} ({end_utc})", "Selesai: {end} ({end_utc})")),
    ("summary", _pair("What: {summary}", "Perihal: {summary}")),
    ("month", _pair("Month: {month}", "Bulan: {month}")),
    (
        "availability",
        _pair(
            "Availability: {availability} (guarantee {guarantee})", "Ketersediaan: {availability} (jaminan {guarantee})"
        ),
    ),
    ("credit", _pair("Service credit: {credit}", "Kredit Layanan: {credit}")),
    ("deadline", _pair("Claim before: {deadline} ({deadline_utc})", "Klaim sebelum: {deadline} ({deadline_utc})")),
    ("digest", _pair("Digest: {digest}", "Sidik: {digest}")),
    ("incident", _pair("Incident: {incident}", "Insiden: {incident}")),
    ("priority", _pair("Priority: {priority}", "Prioritas: {priority}")),
    ("reason", _pair("Reason: {reason}", "Alasan: {reason}")),
    ("justification", _pair("Justification: {justification}", "Pembenaran: {justification}")),
    ("missing", _pair("Missing: {missing}", "Belum ada: {missing}")),
    ("note", _pair("Note: {note}", "Catatan: {note}")),
    (
        "response_due",
        _pair(
            "Response due: {response_due} ({response_due_utc})",
            "Batas Waktu Respons: {response_due} ({response_due_utc})",
        ),
    ),
    (
        "resolution_due",
        _pair(
            "Resolution due: {resolution_due} ({resolution_due_utc})",
            "Batas Waktu Resolusi: {resolution_due} ({resolution_due_utc})",
        ),
    ),
    ("due", _pair("Due: {due} ({due_utc})", "Batas waktu: {due} ({due_utc})")),
    ("outage", _pair("Outage: {outage}", "Gangguan: {outage}")),
    ("links", _pair("See: {links}", "Lihat: {links}")),
)

EFFECT = _pair(
    "{month}, {partner}: best case {best_case} (guarantee {guarantee}), {headroom}",
    "{month}, {partner}: perkiraan terbaik {best_case} (jaminan {guarantee}), {headroom}",
)
HEADROOM = _pair(
    "{left} of downtime left before a credit of {credit}", "sisa {left} Waktu Henti sebelum kredit {credit}"
)
NO_HEADROOM = _pair("credit of {credit} certain", "kredit {credit} sudah pasti")
CHECKS = _pair("{failing} of {total} checks fail", "{failing} dari {total} pemeriksaan gagal")
LOCATIONS = _pair("{failing} of {total} locations see it", "{failing} dari {total} lokasi melihatnya")
FOOT = _pair("Sent by Jaga. Message {key}", "Dikirim oleh Jaga. Pesan {key}")
