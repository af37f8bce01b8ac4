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
