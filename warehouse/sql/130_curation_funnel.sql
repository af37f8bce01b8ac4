create view curation_funnel as
select
    run_id,
    dataset_id,
    position,
    stage,
    unit,
    num_in,
    num_out,
    num_in - num_out as num_lost,
    seconds_in,
    seconds_out,
    num_out / nullif(num_in, 0) as share_kept,
    seconds_out / nullif(first_value(seconds_in) over stages, 0) as share_of_first_seconds
from funnel
window stages as (partition by run_id, dataset_id order by position, stage)
order by run_id, dataset_id, position, stage;

comment on view curation_funnel is 'How much footage each stage of curation lets through. Grain: run, data set, stage.';
comment on column curation_funnel.share_kept is 'Share of what entered this stage.';
comment on column curation_funnel.share_of_first_seconds is 'Seconds left as a share of the seconds that entered the first stage.';
