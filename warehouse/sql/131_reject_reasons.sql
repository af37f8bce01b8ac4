create view reject_reasons as
select
    run_id,
    dataset_id,
    decision,
    stage,
    reason,
    count(*) as num_segments,
    count(distinct (source_id, source_name)) as num_sources,
    sum(seconds) as seconds,
    count(*) / sum(count(*)) over (partition by run_id, dataset_id) as share_of_losses,
    min(measured_value) as lowest_measured,
    max(measured_value) as highest_measured,
    min(threshold) as threshold,
    min(message) as example_message
from curation_decisions
where decision <> 'accepted'
group by run_id, dataset_id, decision, stage, reason
order by run_id, dataset_id, num_segments desc, stage, reason;

comment on view reject_reasons is
    'Why footage was turned away. Grain: run, data set, decision, stage, reason.';
comment on column reject_reasons.run_id is 'The run the row is about; joins runs.';
comment on column reject_reasons.dataset_id is 'Data set and version; joins datasets.';
comment on column reject_reasons.decision is 'rejected or quarantined.';
comment on column reject_reasons.stage is 'The stage that decided.';
comment on column reject_reasons.reason is 'Reason code; see curation_decisions.reason.';
comment on column reject_reasons.num_segments is 'Segments, and sources that never reached segments.';
comment on column reject_reasons.num_sources is 'Different source files among them.';
comment on column reject_reasons.seconds is 'Seconds of footage that were lost; null where no length is known.';
comment on column reject_reasons.share_of_losses is 'Share of all rows of the run and data set that were not accepted, 0 to 1.';
comment on column reject_reasons.lowest_measured is 'Smallest value that was measured; null where nothing could be.';
comment on column reject_reasons.highest_measured is 'Largest value that was measured; null where nothing could be.';
comment on column reject_reasons.threshold is 'The limit it was held against; the lowest, where a run used several.';
comment on column reject_reasons.example_message is 'One of the messages, in the decoder''s or the system''s own words.';
